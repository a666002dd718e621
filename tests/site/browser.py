"""A folder of pages, served from this machine and opened in Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser import browser_or_skip, chromium_page
from tools.serving import served

TYPESET = "async () => { await window.MathJax?.startup?.promise; }"


class Site:
    """A browser's page on the served folder.

    leaving: requests to elsewhere. console_errors: what the console says.
    """

    def __init__(self, page: Page, url: str):
        self.page, self.url = page, url
        self.leaving: list[str] = []
        self.console_errors: list[str] = []
        page.on("request", self._asked)
        page.on("console", self._said)
        page.on("pageerror", self._raised)

    def _asked(self, request):
        if not request.url.startswith((self.url, f"blob:{self.url}", "data:")):
            self.leaving.append(request.url)

    def _said(self, message):
        if message.type == "error":
            self.console_errors.append(message.text)

    def _raised(self, error):
        self.console_errors.append(str(error))

    def open(self, name: str) -> None:
        """Go to a page, and wait until its formulas are typeset."""
        self.page.goto(f"{self.url}/{name}", wait_until="load")
        self.page.evaluate(TYPESET)

    def too_wide(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")

    def violations(self) -> list[str]:
        """What axe-core finds serious or critical: rule and element."""
        # It would fetch style sheets once more, and those that others import from a wrong folder.
        options = {"resultTypes": ["violations"], "preload": False}
        found = Axe().run(self.page, options=options).response["violations"]
        worst = [rule for rule in found if rule["impact"] in ("serious", "critical")]
        return [f"{rule['id']}: {node['html']}" for rule in worst for node in rule["nodes"]]


@contextmanager
def opened(folder: Path, width: int = 1280, height: int = 900) -> Iterator[Site]:
    """``folder`` in a browser's window of that size, in CSS pixels. Without a browser the test is skipped."""
    browser = browser_or_skip()
    with served(folder) as address, chromium_page(browser, width, height) as page:
        yield Site(page, address)
