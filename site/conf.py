"""Sphinx's settings for the book. `make book` calls it, with the chapters beside this file (tools/site/build.py)."""

import shutil
from importlib.resources import files
from pathlib import Path

from docutils import nodes

project = "The DPO workbook"
html_title = project
copyright = "the authors of the DPO workbook, MIT license"

extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx_copybutton", "sphinxcontrib.bibtex"]
exclude_patterns = ["downloads"]
nb_execution_mode = "off"  # what stands in the notebooks is shown
nb_ipywidgets_js = {}  # else every page would load a script for widgets from elsewhere
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_js_files = ["book.js", ("moving.js", {"defer": "defer"})]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_last_updated_fmt = None
# Served from the site itself, as everything is: no page loads anything from elsewhere.
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}  # its menu would load more of MathJax than is here
MATHJAX = ("tex-chtml.js", "output/chtml/fonts")

copybutton_exclude = ".linenos, .gp, .go"


def add_mathjax(app, exception):
    """Put what of MathJax the pages load beside them."""
    if exception is not None:
        return
    source = Path(str(files("mathjax"))) / "static" / "mathjax" / "es5"
    target = Path(app.outdir, "_static", "mathjax")
    for part in MATHJAX:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        elif not (target / part).exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / part, target / part)


def keep_equations(app, doctree):
    """Hand displayed formulas to MathJax as they are; Sphinx would put them into ``split``, which takes no \\tag."""
    for formula in doctree.findall(nodes.math_block):
        if not formula.get("no-wrap", formula.get("nowrap")):
            formula["no-wrap"] = True
            formula.children = [nodes.Text(f"\\[{formula.astext()}\\]")]


def setup(app):
    app.connect("doctree-read", keep_equations)
    app.connect("build-finished", add_mathjax)
