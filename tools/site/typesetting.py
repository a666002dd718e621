"""Sphinx's part of the formulas, for the book and for a course: MathJax from the pages' own folder.

An extension: its conf.py names ``tools.site.typesetting``.
"""

import shutil
from importlib.resources import files
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

# Served from the site itself, as everything is: no page loads anything from elsewhere.
ADDRESS = "mathjax/tex-chtml.js"
PARTS = ("tex-chtml.js", "output/chtml/fonts")


def use_ours(app: Sphinx, config: Config) -> None:
    config.mathjax_path = ADDRESS
    config.mathjax3_config = {"options": {"enableMenu": False}}  # its menu would load more of MathJax than is here


def add_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Put what of MathJax the pages load beside them."""
    if exception is not None:
        return
    source = Path(str(files("mathjax"))) / "static" / "mathjax" / "es5"
    target = Path(app.outdir, "_static", "mathjax")
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        elif not (target / part).exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / part, target / part)


def keep_equations(app: Sphinx, doctree: nodes.document) -> None:
    """Hand displayed formulas to MathJax as they are; Sphinx would put them into ``split``, which takes no \\tag."""
    for formula in doctree.findall(nodes.math_block):
        if not formula.get("no-wrap", formula.get("nowrap")):
            formula["no-wrap"] = True
            formula.children = [nodes.Text(f"\\[{formula.astext()}\\]")]


def setup(app: Sphinx) -> dict:
    app.setup_extension("sphinx.ext.mathjax")
    app.connect("config-inited", use_ours, priority=400)  # before Sphinx looks at them
    app.connect("doctree-read", keep_equations)
    app.connect("build-finished", add_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
