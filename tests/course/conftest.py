"""The whole course, built once for all tests of a process."""

import pytest

from tools import chromium
from tools.course.build import build


@pytest.fixture(scope="session")
def course(tmp_path_factory):
    """Its folder. Without a browser, which prints the slides, there is none."""
    if chromium.find() is None:
        pytest.skip("no Chromium")
    folder = tmp_path_factory.mktemp("course") / "course"
    build(folder)
    return folder
