"""Slides as PDF, one slide a page: printed by Chromium, as a reader's browser would do from its menu."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, Page, sync_playwright

from tools import chromium
from tools.serving import served

# Formulas are typeset and every slide is laid out as a page.
READY = """async () => {
    await window.MathJax.startup.promise;
    await document.fonts.ready;
    Reveal.layout();
}"""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class PrintingError(RuntimeError):
    """There is no browser to print with, or it gave up."""


def require_browser() -> str:
    """The Chromium that prints. PrintingError where this machine has none, or it prints no page."""
    path = chromium.find()
    if path is None:
        raise PrintingError(
            "slides are printed with Chromium, and there is none: install one (python -m tools.chromium tries to), "
            "or name yours, CHROMIUM=/path/to/chromium"
        )
    try:
        with _opened(path) as browser:
            browser.new_page().pdf()
    except Error as error:
        said = error.message.splitlines()[0]
        raise PrintingError(
            f"slides are printed with Chromium, and {path} prints no page ({said}): name yours, "
            "CHROMIUM=/path/to/chromium"
        ) from None
    return path


@contextmanager
def _opened(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def print_decks(folder: Path, names: Iterable[str], browser_path: str) -> None:
    """FOLDER/NAME.pdf of every FOLDER/NAME.html. PrintingError where the browser gives up."""
    with served(folder) as address, _opened(browser_path) as browser:
        page = browser.new_page()
        for name in names:
            try:
                _print(page, f"{address}/{name}.html?print-pdf", folder / f"{name}.pdf")
            except Error as error:
                said = error.message.splitlines()[0]
                raise PrintingError(f"{name}: Chromium did not print its slides ({said}); try again") from None


def _print(page: Page, address: str, file: Path) -> None:
    page.goto(address, wait_until="load")
    page.wait_for_selector(".pdf-page")
    page.evaluate(READY)
    page.pdf(path=file, prefer_css_page_size=True, print_background=True)
