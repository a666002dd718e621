"""Links from what a chapter says to where it is: "chapter 07" to its page, "equation 4" to the card of equations.

In the notebooks these are plain words, for a link between notebooks opens in JupyterLab only where both files are.
"""

import re
from collections.abc import Mapping

# What stays as it is: code, formulas, headings, and what is a link by now.
KEPT = re.compile(
    r"```.*?```|`[^`\n]+`|\$\$.*?\$\$|\$[^$]+?\$[,.;:?!)]?|\[[^\]]*\]\([^)]*\)|<[^>\n]+>|^#+ .*?$",
    re.DOTALL | re.MULTILINE,
)
CHAPTERS = re.compile(r"\b([Cc]hapters?)(\s+)(\d\d(?:(?:,\s+|\s+to\s+|\s+and\s+|,\s+and\s+)\d\d)*)\b")
# A browser would break a line after a formula, and start the next one with the comma that follows it.
CLOSED = re.compile(r"\$[^$]+\$[,.;:?!)]")
NUMBER = re.compile(r"\d\d")
EQUATION = re.compile(r"(?<!'s )\b([Ee]quation\s+([1-7]))\b(?!\.\d)")  # PPO's equation 7 is another one


def with_links(markdown: str, pages: Mapping[str, str]) -> str:
    """``markdown`` with its chapters and equations as links, and no comma apart from the formula before it.

    pages: a chapter's two digits → the file of its page.
    A chapter that has no page, and a page's own chapter where the caller leaves it out of ``pages``, stays as it is.
    """
    parts, end = [], 0
    for kept in KEPT.finditer(markdown):
        closed = CLOSED.fullmatch(kept[0])
        text = f'<span class="joined">{kept[0]}</span>' if closed else kept[0]
        parts += [_linked(markdown[end : kept.start()], pages), text]
        end = kept.end()
    return "".join([*parts, _linked(markdown[end:], pages)])


def _linked(prose: str, pages: Mapping[str, str]) -> str:
    def chapter(number: re.Match, before: str = "") -> str:
        page = pages.get(number[0])
        return f"{before}{number[0]}" if page is None else f"[{before}{number[0]}]({page})"

    def chapters(found: re.Match) -> str:
        word, space, numbers = found.groups()
        only = NUMBER.fullmatch(numbers)
        return chapter(only, word + space) if only else word + space + NUMBER.sub(chapter, numbers)

    prose = CHAPTERS.sub(chapters, prose)
    return EQUATION.sub(r"[\1](#equation-\2)", prose)
