"""A run's report.html: what it says, that it is safe and whole, and that no run is lost to it."""

import json
import shutil
import sys
from collections import Counter
from html.parser import HTMLParser

import pytest
from axe_playwright_python.sync_playwright import Axe

from dpo_book.cli import app, run_report
from dpo_book.cli.stored_run import StoredRunError, read_run
from tests.browser import file_page
from tests.cli.test_evaluations import command, write_pairs
from tests.small_data import write_run

HOSTILE = """<script>alert("1")</script> & 'x' </p> {{ 7 * 7 }} {% raw %}"""
VOID = ("meta", "img")


class Page(HTMLParser):
    """What is on a page: tags, their attributes, its text. AssertionError where tags do not close as they opened."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.words, self.images, self.attributes = [], Counter(), [], [], []
        self.feed(html)
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.words.append(data)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    write_run(folder)
    write_pairs(folder / "pairs.jsonl", ("the plot ", "the acting ", "not bad ", "very good "))
    return folder


@pytest.fixture(scope="module")
def finished(given, tmp_path_factory):
    """A run of DPO with held-out data and samples; not to be touched."""
    out = tmp_path_factory.mktemp("finished") / "run"
    looks = ("--eval-share=0.25", "--eval-every=2", "--eval-samples=4", "--eval-max-new-tokens=5", "--beta=0.37")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPO_BOOK_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(sys, "argv", ["dpo_book", *map(str, command("dpo", given, out, *looks))])
        app.main()
    return out


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def page_of(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# ------------------------------------------------------------------ the page


def test_every_run_ends_with_a_page_that_says_all_of_it(finished):
    page = page_of(finished)
    best = json.loads((finished / "best" / "evaluation.json").read_text())
    data = json.loads((finished / "data.json").read_text())
    assert data["rows"] == 9 and data["completions"] == 18 and data["cut"] == 0
    for words in (
        "run: DPO",
        "finished, 5 steps",
        f"best step {best['step']}, by held-out loss",
        f"{best['loss']:.4g} ({best['loss_low']:.4g} to {best['loss_high']:.4g})",
        "--beta 0.37 0.1",
        f"longer in {data['chosen_longer']} pairs",
        "0 of 18 completions (0.0%)",
        "What to watch Nothing wrong was found.",
        "Looked for: the policy did not start from the reference",
        json.loads((finished / "run.json").read_text())["machine"],
        "seed 0",
    ):
        assert " ".join(words.split()) in page.text, words
    (sample,) = json.loads((finished / "evaluations.jsonl").read_text().splitlines()[0])["samples"]
    assert f"Prompt {sample['prompt'].strip()} step 0 {' '.join(sample['completion'].split())}" in page.text
    settings = page.text.partition("Those that are not as by default.")[2]
    chosen, _, every = settings.partition("All settings")
    assert "--batch-size 4 64" in chosen and "--schedule" not in chosen and "--schedule cosine cosine" in every


def test_the_page_needs_no_network_and_no_script(finished):
    page = page_of(finished)
    assert not {"script", "link", "iframe", "object", "a"} & page.tags.keys()
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("href", "style")]
    assert len(page.images) == 3
    for image in page.images:
        assert image["alt"] and image["src"].startswith("data:image/png;base64,iVBOR")
    assert "//" not in page.text and "url(" not in (finished / "report.html").read_text()
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes


def test_a_browser_shows_it_on_a_small_screen_and_in_the_dark(finished):
    with file_page(finished / "report.html", width=390) as (page, said):
        page.emulate_media(color_scheme="dark")
        assert not said
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 600)")
        ground, text, card = page.evaluate(
            """() => {
                const style = tag => getComputedStyle(document.querySelector(tag));
                return [style('body').backgroundColor, style('body').color, style('.figure').backgroundColor];
            }"""
        )
        assert (ground, text, card) == ("rgb(22, 24, 26)", "rgb(232, 232, 232)", "rgb(255, 255, 255)")
        violations = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        assert not [rule["help"] for rule in violations]


def test_whatever_a_text_says_it_is_text_on_the_page(book, run):
    hostile = shutil.copytree(run, run.with_name("<b>&"))
    rows = [json.loads(line) for line in (hostile / "evaluations.jsonl").read_text().splitlines()]
    for row in rows:
        row["samples"] = [{"prompt": HOSTILE, "completion": HOSTILE}]
    (hostile / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (hostile / "run.toml").write_text(f"data = {json.dumps(HOSTILE)}\npolicy = {json.dumps(HOSTILE)}\n")
    change(hostile / "run.json", machine=HOSTILE)
    assert book("report", hostile)[0] == 0
    page = page_of(hostile)
    assert page.tags.keys() == page_of(run).tags.keys()
    best = json.loads((hostile / "best" / "evaluation.json").read_text())["step"]
    samples = 1 + len({0, best, 5})  # the prompt, and what was said at these steps
    settings = 2 * 2  # both options in both lists, and once more at the top
    assert page.text.count(HOSTILE) == samples + settings + 2 + 1
    assert "<b>&: DPO" in page.text


def test_the_command_makes_the_same_page_from_the_files_alone(book, run):
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    status, printed, _ = book("report", run)
    assert (status, printed.strip()) == (0, f"the report is in {run / 'report.html'}")
    assert (run / "report.html").read_bytes() == before


def test_what_is_found_stands_first_with_its_evidence(book, run):
    change(run / "data.json", cut=17)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines[0]["rewards/chosen"] = -0.2
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert book("report", run)[0] == 0
    text = page_of(run).text
    assert "Nothing wrong was found" not in text
    assert "Alarm: the policy did not start from the reference Seen: at step 1 rewards are -0.2000 nats" in text
    assert "Alarm: most completions are cut Seen: 17 of 18 completions" in text
    assert text.index("Alarm: most") < text.index("Figures")


def test_a_run_that_goes_on_is_reported_so_far(book, run):
    shutil.rmtree(run / "model")
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:3]) + '{"step": 4, "lo')
    assert book("report", run)[0] == 0
    assert "not finished: 3 of 5 steps so far" in page_of(run).text


@pytest.mark.parametrize("method", ["sft", "reward"])
def test_other_methods_and_runs_without_held_out_data_have_one_too(method, book, given, tmp_path, monkeypatch):
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "cache"))
    assert book(*command(method, given, tmp_path / "run"))[0] == 0
    page = page_of(tmp_path / "run")
    assert "None: the run was given no held-out data" in page.text and len(page.images) == 1
    assert ("the chosen completion is" in page.text) == (method == "reward")


# ------------------------------------------------------------------ whole, and no run is lost to it


def test_a_run_that_was_killed_and_goes_on_ends_with_it(book, given, tmp_path, monkeypatch):
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "cache"))
    again = command("dpo", given, tmp_path / "run")
    assert book(*again)[0] == 0
    whole = (tmp_path / "run" / "report.html").read_bytes()
    shutil.rmtree(tmp_path / "run" / "model")  # killed before it, with its last checkpoint after step 4
    (tmp_path / "run" / "report.html").write_text("of an earlier try")
    assert book(*again)[0] == 0
    assert (tmp_path / "run" / "report.html").read_bytes() == whole
    (tmp_path / "run" / "report.html").unlink()  # killed right after its model was saved
    assert "holds this run already, finished" in book(*again)[1]
    assert (tmp_path / "run" / "report.html").read_bytes() == whole


def test_a_report_that_cannot_be_made_is_a_warning_and_costs_no_model(book, given, tmp_path, monkeypatch):
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "cache"))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_report, "write_text", fail)
    status, printed, said = book(*command("sft", given, tmp_path / "run"))
    assert status == 0 and f"the trained model is in {tmp_path / 'run' / 'model'}" in printed
    assert "report.html could not be made (No space left on device); the trained model is saved" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "content", "word"),
    [
        ("run.json", None, "holds no training run: there is no run.json"),
        ("run.json", "[]", "run.json is damaged"),
        ("run.json", '{"method": "judge"}', "holds no training run by sft, reward or dpo"),
        ("run.json", '{"method": "dpo", "steps": 5, "batch_size": 4, "beta": "x"}', "run.json is damaged (its beta"),
        ("metrics.jsonl", None, "of which no step is recorded yet"),
        ("metrics.jsonl", '{"step": 2, "loss": 1}\n', "metrics.jsonl is damaged (line 1 is not the record of step 1"),
        ("metrics.jsonl", '{"step": 1, "loss": "x"}\n', "metrics.jsonl is damaged (loss of 1 is no number"),
        ("metrics.jsonl", '{"step": 1, "loss": 1}\n', "metrics.jsonl is damaged (its rewards/chosen"),
        ("metrics.jsonl", "[1]\n", "metrics.jsonl is damaged (a line is no object"),
        ("evaluations.jsonl", '{"step": 0, "loss": 1}\n', "line 1 has no interval of loss"),
        ("evaluations.jsonl", "x\n", "evaluations.jsonl is damaged"),
        ("best/evaluation.json", "{}", "evaluation.json is damaged (it does not say its step"),
        ("run.toml", "beta 1", "run.toml is damaged"),
        ("data.json", '{"rows": 0}', "data.json is damaged"),
        ("data.json", "[" * 100_000, "data.json is damaged"),
    ],
)
def test_a_folder_that_holds_no_run_or_a_damaged_one_is_refused_in_one_line(file, content, word, book, run):
    before = (run / "report.html").read_bytes()
    if content is None:
        (run / file).unlink()
    else:
        (run / file).write_text(content)
    status, printed, said = book("report", run)
    assert (status, printed, said.count("\n")) == (2, "", 1) and word in said, said
    assert (run / "report.html").read_bytes() == before


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoredRunError, match="nowhere holds no training run"):
        read_run(tmp_path / "nowhere")
