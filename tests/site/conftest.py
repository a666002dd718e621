"""The book, built once for all tests of a process."""

import pytest

from tests.site.html_page import Page
from tools.site.build import build


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built pages."""
    return build(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def pages(site):
    """Every page by its file's name."""
    return {path.name: Page(path) for path in sorted(site.glob("*.html"))}
