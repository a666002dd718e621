"""The sliders and the live run for a lecture hall, without code: `make app`, or `python -m tools.app`.

pages.py   one page a chapter with widgets, of the chapter's own cells
serve.py   Voila, with its settings
jupyter/   how its pages look, without anything from elsewhere
"""
