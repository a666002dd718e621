"""One kernel for all notebooks that a test file executes: importing what they need takes longer than most of them."""

import asyncio

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

from tools.record import LIMITS, NOTEBOOKS

CLEAN = "%reset -f\nimport torch\ntorch.set_default_dtype(torch.float32)"  # chapter 01 changes it


@pytest.fixture(scope="module")
def run():
    """Runs a notebook, in the chapters' folder, in a kernel that knows no name of the notebooks before it."""
    manager = AsyncKernelManager(kernel_name="python3")
    resources = {"metadata": {"path": str(NOTEBOOKS)}}

    def execute(notebook):
        notebook.cells.insert(0, nbformat.v4.new_code_cell(CLEAN))
        NotebookClient(notebook, km=manager, resources=resources, **LIMITS).execute()

    yield execute
    asyncio.run(manager.shutdown_kernel(now=True))
