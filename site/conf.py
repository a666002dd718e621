"""Sphinx's settings for the book. `make book` calls it, with the chapters beside this file (tools/site/build.py)."""

project = "The DPO workbook"
html_title = project
copyright = "the authors of the DPO workbook, MIT license"

extensions = ["myst_nb", "tools.site.typesetting", "sphinx_copybutton", "sphinxcontrib.bibtex"]
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

copybutton_exclude = ".linenos, .gp, .go"
