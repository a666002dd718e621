"""Words that become links, and what stays as it is."""

import pytest

from tools.site.links import with_links

PAGES = {"03": "three.ipynb", "07": "seven.ipynb"}


@pytest.mark.parametrize(
    ("words", "linked"),
    [
        ("see chapter 07.", "see [chapter 07](seven.ipynb)."),
        ("Chapters 03 to\n07 prove", "Chapters [03](three.ipynb) to\n[07](seven.ipynb) prove"),
        ("chapters 03, 05 and 07", "chapters [03](three.ipynb), 05 and [07](seven.ipynb)"),
        ("by equation 4, of", "by [equation 4](#equation-4), of"),
        ("so $x$, and $y$ too", 'so <span class="joined">$x$,</span> and $y$ too'),
        ("**Equation\n7**", "**[Equation\n7](#equation-7)**"),
    ],
)
def test_a_chapter_and_an_equation_become_links(words, linked):
    assert with_links(words, PAGES) == linked


@pytest.mark.parametrize(
    "words",
    [
        "chapter 05 has no page",
        "`chapter 07`",
        "```\nchapter 07\n```",
        "$$\\text{equation 4}$$ and $\\text{chapter 07}$",
        "## Why chapter 07",
        "[as chapter 07 says](elsewhere.md)",
        '<b title="chapter 07">',
        "PPO's equation 7",
        "equation 17, equation 8",
    ],
)
def test_the_rest_stays_as_it_is(words):
    assert with_links(words, PAGES) == words
