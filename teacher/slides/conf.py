"""Sphinx's settings for the slides: `make course` calls it, with the decks beside this file (tools/course)."""

project = "The DPO workbook: slides"
copyright = "the authors of the DPO workbook, MIT license"
root_doc = "00_what_does_dpo_do"

extensions = ["myst_parser", "tools.site.typesetting", "sphinx_revealjs"]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
html_favicon = "favicon.svg"
html_copy_source = False

revealjs_style_theme = "white"
revealjs_static_path = ["_static"]
revealjs_css_files = ["slides.css"]
revealjs_use_section_ids = True
revealjs_script_plugins = [{"name": "RevealNotes", "src": "revealjs/plugin/notes/notes.js"}]
revealjs_script_conf = {
    "width": 1120,
    "height": 700,
    "margin": 0.05,
    "center": False,
    "hash": True,
    "slideNumber": "c/t",
    "navigationMode": "linear",
    "transition": "none",
    "pdfMaxPagesPerSlide": 1,
}
