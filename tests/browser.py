"""A notebook opened in a real JupyterLab, in a real Chromium, for tests that click and look.

    with lab_page(NOTEBOOKS / "00_what_does_dpo_do.ipynb") as lab:
        lab.run_all()
        picture = lab.picture(3)  # the widgets.Image below cell 3
        before = picture.get_attribute("src")
        lab.press(3, "ArrowRight")  # its first slider
        lab.wait_changed(picture, before)
        assert not lab.console_errors

The notebook's whole folder is copied to a temporary one first, so nothing a test does reaches the book.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, sync_playwright

from tests.patience import PATIENCE
from tools import chromium
from tools.kernel_env import KERNEL_ENV
from tools.record import LIMITS

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false"},
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell stands in the page
}
READY = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    if (!panel?.sessionContext || window.bookReady !== undefined) return window.bookReady === true;
    window.bookReady = false;
    (async () => {
        await panel.context.ready;
        await panel.sessionContext.ready;
        await panel.sessionContext.session.kernel.info;
        window.bookReady = true;
    })();
}"""
RUN = """(cells) => {
    const app = window.jupyterapp, notebook = app.shell.currentWidget.content;
    const run = async () => {
        if (cells === null) return app.commands.execute('notebook:run-all-cells');
        for (const index of cells) {
            notebook.activeCellIndex = index;
            notebook.deselectAll();
            await app.commands.execute('notebook:run-cell');
        }
    };
    window.bookRun = 'running';
    run().then(() => { window.bookRun = 'done'; }, error => { window.bookRun = String(error); });
}"""
EXECUTE = """(code) => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    window.bookRun = 'running';
    kernel.requestExecute({ code, store_history: false }).done.then(({ content }) => {
        window.bookRun = content.status === 'ok' ? 'done' : `${content.ename}: ${content.evalue}`;
    });
}"""
ERRORS = """() => window.jupyterapp.shell.currentWidget.model.sharedModel.cells.flatMap(cell =>
    cell.cell_type !== 'code' || cell.getMetadata('tags')?.includes('raises-exception') ? [] :
    cell.getOutputs().filter(output => output.output_type === 'error')
        .map(output => `${output.ename}: ${output.evalue}`))"""
IDLE = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"


class LabPage:
    """What a test does with the open notebook. Cells are counted from 0, Markdown cells too."""

    def __init__(self, page: Page):
        self.page = page
        self.console_errors: list[str] = []
        page.on("console", lambda said: said.type == "error" and self.console_errors.append(said.text))
        page.on("pageerror", lambda error: self.console_errors.append(str(error)))

    def run_all(self) -> None:
        """Run every cell and wait until the last is done; an error in a cell is an AssertionError."""
        self._run(None)

    def run_cells(self, indices: list[int]) -> None:
        """The same for some cells, in the order given."""
        self._run(indices)

    def _run(self, cells: list[int] | None) -> None:
        self.page.evaluate(RUN, cells)
        self._wait_for_done()
        errors = self.page.evaluate(ERRORS)
        assert not errors, errors[0]
        self.wait_idle()

    def execute(self, code: str) -> None:
        """Run code in the notebook's kernel without a cell; ``_`` is what the last cell shows."""
        self.page.evaluate(EXECUTE, code)
        self._wait_for_done()

    def _wait_for_done(self) -> None:
        self.wait_for("() => window.bookRun !== 'running'", LIMITS["timeout"])
        assert self.page.evaluate("window.bookRun") == "done"

    def wait_idle(self) -> None:
        """Wait until the kernel has nothing to do. A thread that a cell has started does not count."""
        self.wait_for(IDLE)

    def wait_for(self, condition: str, timeout: float = PATIENCE) -> None:
        """Wait until a JavaScript function gives true; a dialog in the way is shown in the error."""
        try:
            self.page.wait_for_function(condition, timeout=1000 * timeout)
        except TimeoutError as error:
            raise AssertionError(
                "\n".join([str(error), *self.page.locator(".jp-Dialog").all_inner_texts()])
            ) from None

    def cell(self, index: int) -> Locator:
        """One cell with its outputs."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def picture(self, index: int) -> Locator:
        """The first widgets.Image below a cell."""
        return self.cell(index).locator("img.widget-image").first

    def press(self, index: int, key: str, slider: int = 0) -> None:
        """Press a key ("ArrowRight", "End", ...) on a slider below a cell."""
        handle = self.cell(index).locator(".noUi-handle").nth(slider)
        handle.focus()
        handle.press(key)

    def button(self, index: int, label: str) -> Locator:
        """A widgets.Button below a cell."""
        # By its text: an icon would be part of its accessible name.
        return self.cell(index).locator("button.jupyter-button", has_text=label)

    def click(self, index: int, label: str) -> None:
        self.button(index, label).click()

    def wait_enabled(self, index: int, label: str) -> None:
        """Wait until a widgets.Button below a cell can be clicked."""
        self.button(index, label).and_(self.page.locator(":enabled")).wait_for()

    def wait_changed(self, picture: Locator, before: str) -> None:
        """Wait until a picture is no longer the one with this src."""
        self.page.wait_for_function("([image, src]) => image.src !== src", arg=[picture.element_handle(), before])

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=path)


@contextmanager
def lab_page(notebook: Path) -> Iterator[LabPage]:
    """The notebook in a JupyterLab of its own, with its kernel ready; all of it is gone afterwards.

    Without a browser it skips the test, or fails it where CI is set: there a missing browser is a mistake.
    """
    browser = chromium.find()
    if browser is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium found: name one in $CHROMIUM")
    with _server(notebook.parent) as (url, token), _chromium(browser) as page:
        lab = LabPage(page)
        page.goto(f"{url}/lab/tree/{notebook.name}?reset&token={token}")
        lab.wait_for(READY)
        lab.wait_idle()
        yield lab


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, str]]:
    """JupyterLab over a copy of a folder, with settings of its own; its address and token."""
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="dpo-book-lab-", ignore_cleanup_errors=True) as home:
        root = Path(home, "root")
        shutil.copytree(folder, root)
        for name, values in SETTINGS.items():
            file = Path(home, "settings", "@jupyterlab", f"{name}.jupyterlab-settings")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        port = _free_port()
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
        command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
        command += [f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True"]
        command += ["--LabApp.extension_manager=readonly"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        with Path(home, "log").open("w+") as log:
            server = subprocess.Popen(command, env=_environment(home), stdout=log, stderr=log, start_new_session=True)
            try:
                url = f"http://127.0.0.1:{port}"
                _wait_for(server, f"{url}/api/status?token={token}", log.name)
                yield url, token
            finally:
                _stop(server)


def _environment(home: str) -> dict[str, str]:
    return (
        os.environ
        | KERNEL_ENV
        | {
            "JUPYTER_PATH": str(Path(sys.prefix, "share", "jupyter")),
            "JUPYTER_CONFIG_DIR": f"{home}/config",
            "JUPYTER_DATA_DIR": f"{home}/data",
            "JUPYTER_RUNTIME_DIR": f"{home}/runtime",
            "JUPYTERLAB_SETTINGS_DIR": f"{home}/settings",
            "JUPYTERLAB_WORKSPACES_DIR": f"{home}/workspaces",
        }
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(server: subprocess.Popen, url: str, log: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{Path(log).read_text()[-2000:]}")


def _stop(server: subprocess.Popen) -> None:
    """Ask it, and it stops its kernels; a kernel whose server had to be killed ends by itself."""
    server.terminate()
    try:
        server.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, 9)
        server.wait()


@contextmanager
def _chromium(path: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=1000 * PATIENCE)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(1000 * PATIENCE)  # of whatever waits on it: locators, clicks, key presses
            yield page
        finally:
            browser.close()
