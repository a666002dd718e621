"""What a page of the built book holds, read once: what it loads, where it links to, its pictures and its words."""

from html.parser import HTMLParser
from pathlib import Path

LOADS = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "audio": "src"}
VOID = {"img", "br", "hr", "meta", "link", "input", "source", "wbr", "area", "col", "embed", "track"}


class Page(HTMLParser):
    """loads, links: addresses. ids: what a link can name. alts: of pictures, None where one has none.

    prose: the words outside code and formulas; text: all words; tex: every formula.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.loads, self.links, self.ids, self.alts = [], [], set(), []
        self._prose, self._text, self._tex, self._open = [], [], [], []
        self.folded = 0
        self.feed(path.read_text(encoding="utf-8"))
        self.prose, self.text, self.tex = map("".join, (self._prose, self._text, self._tex))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        classes = (given.get("class") or "").split()
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon"):
            self.loads.append(given["href"])
        if given.get(LOADS.get(tag)):
            self.loads.append(given[LOADS[tag]])
        if tag == "img":
            self.alts.append(given.get("alt"))
        if tag == "details" and "above-input" in classes:
            self.folded += 1
        if tag not in VOID:
            self._open.append((tag, "math" in classes))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tags = {tag for tag, _ in self._open}
        if tags & {"script", "style"}:
            return
        self._text.append(data)
        if any(math for _, math in self._open):
            self._tex.append(data)
        elif not tags & {"pre", "code"}:
            self._prose.append(data)
