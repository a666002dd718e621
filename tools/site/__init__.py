"""The static web book: `python -m tools.site` (or `make book`) builds it, offline, into build/site/html.

``chapters`` turns a recorded notebook into a page, ``links`` ties its prose to other pages, ``pictures`` takes the
figures out of it, ``moving`` lets sliders move. Their pictures come from ``recordings``, which runs ``draw``, in a
process for each chapter, at the places that ``controls`` finds. ``exercises`` lists the exercises of all chapters.
``build`` puts all pages into one folder and lets Sphinx make HTML of them. What is written by hand is in site/, with
Sphinx's settings.
"""
