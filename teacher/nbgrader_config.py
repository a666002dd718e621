"""The course's settings for nbgrader: `python -m tools.course.grader FOLDER` lays a copy beside the chapters.

Answers run in the kernel of the environment that nbgrader itself runs in. The package has to be installed there:
where the imports of a chapter fail, no answer can be marked, and that is an error of the course, not a zero.
"""

import os
import sys

from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    Execute,
    IgnorePattern,
    LimitOutput,
    NbGraderPreprocessor,
    SaveAutoGrades,
)

# What the grader's kernel needs: one thread and the CPU, so that a chapter gives the same numbers everywhere, and no
# network. The kernel is this environment's, not one of the same name in the home folder.
KERNEL = {
    "DPO_BOOK_DEVICE": "cpu",
    "HF_HUB_OFFLINE": "1",
    "JUPYTER_PREFER_ENV_PATH": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
for name, value in KERNEL.items():
    os.environ.setdefault(name, value)
# nbgrader calls alembic by its name, which is beside this Python also where the environment is not activated.
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])


class RequireImports(NbGraderPreprocessor):
    """Stops the marking of a notebook whose locked cells fail: the grader's kernel lacks something."""

    def preprocess_cell(self, cell, resources, cell_index):
        settings = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and settings.get("locked") and not settings.get("grade"):
            for output in cell.outputs:
                if output.output_type == "error":
                    raise NbGraderException(
                        f"cell {cell_index + 1} of the notebook, which students cannot change, fails in the "
                        f"grader's kernel: {output.ename}: {output.evalue}. Nothing is marked. Is dpo_book installed "
                        "in the environment that nbgrader runs in?"
                    )
        return cell, resources


c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "dpo-workbook"
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError()"}
c.Execute.timeout = 1800  # seconds a cell: chapters train
c.Execute.startup_timeout = 300
c.Autograde.autograde_preprocessors = [
    Execute,
    RequireImports,
    IgnorePattern,
    ClearMetadataPreprocessor,
    LimitOutput,
    SaveAutoGrades,
    AssignLatePenalties,
    CheckCellMetadata,
]
