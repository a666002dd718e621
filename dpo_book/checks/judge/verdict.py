"""What a check says: as HTML on a page, where its lines wrap between words, and as plain text in a terminal."""

import re
from html import escape
from typing import NamedTuple

CODE = re.compile(r"`([^`]+)`")
STRESSED = re.compile(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])")
EDGE = {True: "#00614a", False: "#b34700"}


class Verdict(NamedTuple):
    """right: is the answer right? text: what to say about it, with `code` and *stress* as in Markdown."""

    right: bool
    text: str

    def __repr__(self) -> str:
        return STRESSED.sub(r"\1", self.text)

    def _repr_html_(self) -> str:
        page = STRESSED.sub(r"<em>\1</em>", CODE.sub(r"<code>\1</code>", escape(self.text, quote=False)))
        edge = f"border-left: 4px solid {EDGE[self.right]}; padding: 2px 10px; max-width: 46em"
        return f'<p style="{edge}">{page}</p>'
