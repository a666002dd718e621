"""Notebooks opened in a real JupyterLab, in a real Chromium, for tests that click and look.

    with laboratory() as lab_page, lab_page(NOTEBOOKS / "00_what_does_dpo_do.ipynb") as lab:
        lab.run_all()
        picture = lab.picture(3)  # the picture of a widget below cell 3
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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Locator, Page, Request, TimeoutError, expect, sync_playwright

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
OPEN = """([path, kernel]) => {
    const app = window.jupyterapp, before = app.shell.currentWidget;
    const open = async () => {
        const where = kernel ? { path } : { path, kernel: { name: null } };
        const panel = await app.commands.execute('docmanager:open', where);
        if (before !== panel) before?.dispose();
        await panel.context.ready;
        await panel.revealed;
        if (!kernel) return;
        await panel.sessionContext.ready;
        await panel.sessionContext.session.kernel.info;
    };
    window.bookOpen = 'opening';
    open().then(() => { window.bookOpen = 'open'; }, error => { window.bookOpen = String(error); });
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
SHUT_DOWN = "() => window.jupyterapp.serviceManager.sessions.shutdownAll()"
RENDERED = """() => {
    const cells = document.querySelectorAll('.jp-Notebook .jp-Cell');
    const texts = [...document.querySelectorAll('.jp-RenderedMarkdown')].map(text => text.textContent);
    const latex = /[$][$]|[\\\\](beta|log|pi|sigma)/;  // a formula that is not typeset yet
    return cells.length === window.jupyterapp.shell.currentWidget.content.widgets.length
        && !texts.some(text => latex.test(text));
}"""
ADDED = (".jp-RenderedMarkdown", ".jp-OutputArea-output")  # what a notebook adds to JupyterLab's page
# MathJax's unseen copy of a formula, for screen readers, does not wrap and stretches the page. And axe-core passes
# over what lies outside of a frame: the body of JupyterLab's page has no height of its own.
STYLE = "mjx-assistive-mml { width: 1px !important; } body { height: 100vh; }"
WIDE = """(added) => [...document.querySelectorAll(added)]
    .map(part => [part.scrollWidth - part.clientWidth, part.textContent.trim().slice(0, 200)])
    .filter(([pixels]) => pixels > 1)
    .map(([pixels, text]) => `${pixels} pixels too wide: ${text}`)"""
JUPYTERLABS = "link-in-text-block"  # what no notebook can mend: links in a text are told by their colour alone
IDLE = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"


class LabPage:
    """What a test does with the open notebook. Cells are counted from 0, Markdown cells too."""

    def __init__(self, page: Page):
        self.page = page
        self.path = ""  # of the notebook that is shown, on the server
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

    def open(self, path: str, kernel: bool) -> None:
        """Show a notebook of the server in place of this one, with a kernel that is ready or without one."""
        self.page.evaluate(OPEN, [path, kernel])
        self.wait_for("() => window.bookOpen !== 'opening'")
        assert self.page.evaluate("window.bookOpen") == "open"
        self.path = path
        if kernel:
            self.wait_idle()

    def open_beside(self, name: str) -> None:
        """Show another notebook of the folder, without a kernel, and wait for its formulas."""
        self.open(f"{self.path.rpartition('/')[0]}/{name}.ipynb", kernel=False)
        self.wait_for(RENDERED)

    def too_wide(self) -> list[str]:
        """Texts and outputs that have to be scrolled sideways, and by how many pixels."""
        self.page.add_style_tag(content=STYLE)
        return self.page.evaluate(WIDE, ", ".join(ADDED))

    def violations(self, colours: bool = False) -> list[str]:
        """What axe-core finds serious or critical in what the notebook adds to the page: rule, help and element.

        colours: the contrast of every word, too, which takes ten seconds.
        """
        self.page.add_style_tag(content=STYLE)
        size = self.page.viewport_size
        height = self.page.locator(".jp-WindowedPanel-outer").evaluate("panel => panel.scrollHeight")
        self.page.set_viewport_size(size | {"height": size["height"] + height})  # all of it in sight
        context = {"include": [[part] for part in ADDED]}
        rules = {"color-contrast": {"enabled": colours}, JUPYTERLABS: {"enabled": False}}
        found = Axe().run(self.page, context, {"resultTypes": ["violations"], "rules": rules}).response
        self.page.set_viewport_size(size)
        worst = [rule for rule in found["violations"] if rule["impact"] in ("serious", "critical")]
        return [f"{rule['id']}: {rule['help']}\n    {node['html']}" for rule in worst for node in rule["nodes"]]

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
        """The first picture of a widget below a cell."""
        return self.cell(index).locator(".widget-html img").first

    def slider(self, index: int, number: int = 0) -> Locator:
        """A slider below a cell, as what reads a page aloud finds it."""
        return self.cell(index).get_by_role("slider").nth(number)

    def press(self, index: int, key: str, slider: int = 0) -> None:
        """Press a key ("ArrowRight", "End", ...) on a slider below a cell."""
        self.slider(index, slider).press(key)

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
        expect(picture).not_to_have_attribute("src", before, timeout=1000 * PATIENCE)

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=path)


def browser_or_skip() -> str:
    """A Chromium's path. Without one the test is skipped, or fails where CI is set: there it is a mistake."""
    browser = chromium.find()
    if browser is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium found: name one in $CHROMIUM")
    return browser


Opens = Callable[..., AbstractContextManager[LabPage]]


@contextmanager
def laboratory() -> Iterator[Opens]:
    """One JupyterLab in one Chromium for notebooks one after another: starting both takes longer than most tests.

    Gives ``lab_page(notebook, width=1280, height=900)``. Skipped or failed without a browser: ``browser_or_skip``.
    """
    browser = browser_or_skip()
    with _server() as (root, url, token), chromium_page(browser) as page:
        page.goto(f"{url}/lab?reset&token={token}")
        page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)")
        yield partial(_lab_page, root, page)


@contextmanager
def _lab_page(root: Path, page: Page, notebook: Path, width: int = 1280, height: int = 900) -> Iterator[LabPage]:
    """A copy of the notebook with its kernel ready; the kernel is gone afterwards.

    width, height: of the browser's window, in CSS pixels.
    """
    folder = Path(tempfile.mkdtemp(dir=root))
    shutil.copytree(notebook.parent, folder, dirs_exist_ok=True)
    page.set_viewport_size({"width": width, "height": height})
    lab = LabPage(page)
    lab.open(f"{folder.name}/{notebook.name}", kernel=True)
    try:
        yield lab
    finally:
        page.evaluate(SHUT_DOWN)


@contextmanager
def file_page(path: Path, width: int = 1280, height: int = 900) -> Iterator[tuple[Page, list[str]]]:
    """A page that is a file, and a list of what its console says and what it asks for but for itself.

    Skipped or failed without a browser, as ``laboratory``.
    """
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        said.append(message.text)

    def see(request: Request) -> None:
        if request.url != path.as_uri() and not request.url.startswith("data:"):
            said.append(request.url)

    with chromium_page(browser_or_skip(), width, height) as page:
        page.on("console", hear)
        page.on("request", see)
        page.goto(path.as_uri())
        yield page, said


@contextmanager
def _server() -> Iterator[tuple[Path, str, str]]:
    """JupyterLab over an empty folder, with settings of its own: the folder, its address and token."""
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="dpo-book-lab-", ignore_cleanup_errors=True) as home:
        root = Path(home, "root")
        root.mkdir()
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
                yield root, url, token
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
def chromium_page(path: str, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """An empty page in a Chromium of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=1000 * PATIENCE)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(1000 * PATIENCE)  # of whatever waits on it: locators, clicks, key presses
            yield page
        finally:
            browser.close()
