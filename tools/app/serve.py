"""Voila with the book's pages. Each visitor has a kernel, and moves widgets in it.

A kernel takes no code from a visitor: of all messages Voila passes on those of widgets, and none that executes.
"""

import importlib.util
import os
import socket
import tempfile
from pathlib import Path

from tools import command_line
from tools.app.pages import build
from tools.kernel_env import KERNEL_ENV

JUPYTER = Path(__file__).parent / "jupyter"  # as one of Jupyter's data folders: Voila's template is in it
IDLE = 600  # seconds without a move after which a visitor's kernel ends
# Of JupyterLab's extensions: what draws widgets.
WIDGETS_ALONE = [
    "@voila-dashboards/widgets-manager8",
    "@jupyter-widgets/jupyterlab-manager",
    "anywidget",
]


def settings(host: str, port: int, token: str | None) -> list[str]:
    """Voila's options. Without a token it makes one; of IPv6 it would print the address without brackets."""
    shown = socket.gethostname() if host == "::" else _in_a_link(host)
    return [
        *([f"--Voila.custom_display_url=http://{shown}:{port}"] if ":" in host else []),
        "--token" if token is None else f"--token={token}",
        "--no-browser",
        f"--Voila.ip={host}",
        f"--port={port}",
        "--template=lecture",
        "--classic_tree=True",
        "--strip_sources=True",
        "--show_tracebacks=False",
        f"--VoilaConfiguration.extension_allowlist={WIDGETS_ALONE}",
        f"--MappingKernelManager.cull_idle_timeout={IDLE}",
        "--MappingKernelManager.cull_interval=60",
        "--MappingKernelManager.cull_connected=True",
    ]


def _in_a_link(host: str) -> str:
    """An address of IPv6 stands in brackets there."""
    return f"[{host}]" if ":" in host else host


def _require_address(host: str, port: int) -> None:
    """Refuse what cannot be listened at: Voila would take another port, or end in a traceback.

    Nothing, and 0, can be: they stand for every address and any port, and no visitor's link may hold them.
    """
    if not host:
        command_line.refuse("--host wants an address of this machine: 127.0.0.1, or 0.0.0.0 for every one")
    if not 1 <= port <= 65_535:
        command_line.refuse(f"--port wants a number from 1 to 65535, such as 8866, and not {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            pass
    except (OSError, UnicodeError) as error:
        command_line.refuse(f"nothing can be served at {_in_a_link(host)}:{port}: {error}")


def app(host: str = "127.0.0.1", port: int = 8866, token: str | None = None) -> None:
    """Serve the sliders and the live run, until Ctrl-C.

    A visitor takes about half a GB of memory, and more while a run trains.

    Args:
        host: at which address of this machine, of IPv4 or IPv6; 0.0.0.0 is every one, for a lecture hall.
        port: at which port.
        token: what a visitor's link has to hold; by default a new one, which the first lines say.
    """
    if importlib.util.find_spec("voila") is None:
        command_line.refuse('Voila is not installed: pip install -e ".[lab,app]"')
    if token == "":
        command_line.refuse("--token wants a word: with none, everybody at this address may come in")
    _require_address(host, port)
    os.environ.update(KERNEL_ENV)
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(JUPYTER), os.environ.get("JUPYTER_PATH")]))
    from voila.app import Voila  # which reads the environment

    with tempfile.TemporaryDirectory(prefix="dpo-book-app-") as scratch:
        folder = Path(scratch)
        build(folder)
        Voila.launch_instance([str(folder), *settings(host, port, token)])
