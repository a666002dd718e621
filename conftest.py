"""Sets the stage before any test imports torch; kernels and xdist workers inherit it."""

import os
import shutil
import tempfile

from tools.kernel_env import KERNEL_ENV

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ

os.environ.update(KERNEL_ENV)
if not IS_WORKER:
    os.environ["DPO_BOOK_CACHE"] = tempfile.mkdtemp(prefix="dpo-book-")
    os.environ["TRACKIO_DIR"] = os.path.join(os.environ["DPO_BOOK_CACHE"], "trackio")


def pytest_configure(config):
    """Let matplotlib list the fonts now: on a new machine it does so once, and says so in a notebook."""
    if not IS_WORKER:
        import matplotlib.font_manager  # noqa: F401


def pytest_unconfigure(config):
    """Keep nothing trained in one run for the next."""
    if not IS_WORKER:
        shutil.rmtree(os.environ["DPO_BOOK_CACHE"], ignore_errors=True)
