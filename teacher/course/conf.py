"""Sphinx's settings for a course's pages. `make course` calls it, with the pages beside this file."""

project = "The DPO workbook: a course"
html_title = project
copyright = "the authors of the DPO workbook, MIT license"

extensions = ["myst_parser", "tools.site.typesetting"]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_favicon = "favicon.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
