"""The bibliography has every paper that a chapter cites, and no other."""

import re
from pathlib import Path

from pybtex.database import parse_file

from tools.record import NOTEBOOKS

ARXIV = re.compile(r"\b\d{4}\.\d{5}\b")
DOI = re.compile(r"https://doi\.org/([^)\s]+)")
ENTRIES = parse_file(str(Path(NOTEBOOKS.parent, "site", "references.bib"))).entries
PROSE = "\n".join(script.read_text(encoding="utf-8") for script in NOTEBOOKS.glob("py/*.py"))


def of_entries(field):
    return [entry.fields[field] for entry in ENTRIES.values() if field in entry.fields]


def test_papers_of_arxiv_and_journals_are_those_that_the_chapters_cite():
    cited = set(ARXIV.findall(PROSE))
    assert len(cited) > 30
    assert set(of_entries("eprint")) == cited, "site/references.bib and notebooks/py differ"
    assert set(of_entries("doi")) == set(DOI.findall(PROSE))


def test_each_entry_stands_once_and_says_who_what_and_when():
    for field in ("eprint", "doi", "url", "title"):
        assert len(of_entries(field)) == len(set(of_entries(field))), field
    for key, entry in ENTRIES.items():
        assert entry.persons["author"] and entry.fields["title"], key
        assert re.fullmatch(r"(?:19|20)\d\d", entry.fields["year"]), key
        if "eprint" in entry.fields:
            assert entry.fields["year"][2:] == entry.fields["eprint"][:2], key
