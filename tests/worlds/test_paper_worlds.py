"""The paper's three data sets, in their own schemas, from local copies: what loads, and what each fault is called."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import huggingface_hub
import pandas as pd
import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification

from dpo_book.data import paper_sets
from dpo_book.data.pairs import check_pairs, tokenize_pairs
from dpo_book.data.preferences import load_preferences
from dpo_book.data.reading import PreferenceError
from dpo_book.data.tokens import opening_ids, plain_ids
from dpo_book.maths.bradley_terry import preference_probability
from dpo_book.models.policy import build_policy, train_tokenizer
from dpo_book.worlds import imdb
from tests.data.tokenizers_of_all_kinds import KINDS
from tools.kernel_env import KERNEL_ENV

DATA = Path("tests/samples")
ASKED = "\n\nHuman: Hi!\n\nAssistant: Hello. What is it?\n\nHuman: A joke, please.\n\nAssistant:"
HH = {"chosen": f"{ASKED} Knock knock.", "rejected": f"{ASKED} No."}
TLDR = json.loads((DATA / "tldr.jsonl").read_text().splitlines()[0])
NEWS = json.loads((DATA / "tldr_news.jsonl").read_text().splitlines()[1])
IMDB = {"text": "A very good film.", "label": 1}
GOOD = {"hh": HH, "tldr": TLDR, "imdb": IMDB}


def rows_of(name):
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def changed(row, *path_and_value):
    """A copy of the row with one value, at the end of a path of keys, changed."""
    *path, key, value = path_and_value
    row = json.loads(json.dumps(row))
    inner = row
    for step in path:
        inner = inner[step]
    inner[key] = value
    return row


# ------------------------------------------------------------------ what loads


def test_hh_is_split_at_the_last_assistant_turn():
    pairs = load_preferences("hh", source=DATA / "hh.jsonl")
    assert len(pairs) == 5
    for pair, row in zip(pairs, rows_of("hh"), strict=True):
        assert (pair.prompt + pair.chosen, pair.prompt + pair.rejected) == (row["chosen"], row["rejected"])
        assert pair.prompt.startswith("\n\nHuman:") and pair.prompt.endswith("\n\nAssistant:")
        assert pair.chosen.startswith(" ") and "\n\nAssistant:" not in pair.chosen + pair.rejected
    assert pairs[4].prompt.count("\n\nAssistant:") == 3 and pairs[4].rejected == " Call the police."
    assert "Assistant: is written" in pairs[3].chosen  # only a turn of its own begins with an empty line


def test_hh_by_its_plain_columns_would_lose_common_first_words(tmp_path):
    row = {"chosen": f"{ASKED} Why, of course.", "rejected": f"{ASKED} Why, no."}
    path = write(tmp_path / "a.jsonl", row)
    assert load_preferences("hh", source=path)[0].chosen == " Why, of course."
    assert load_preferences(path)[0].chosen == " of course."


def test_tldr_prompt_and_choice():
    pairs = load_preferences("tldr", source=DATA / "tldr.jsonl")
    assert [pair.prompt.split("\n")[0] for pair in pairs] == [
        "SUBREDDIT: r/AskCooks",
        "SUBREDDIT: r/bikes",
        "SUBREDDIT: r/roommates",
        "SUBREDDIT: r/learnpiano",
    ]
    assert pairs[1].prompt == (
        "SUBREDDIT: r/bikes\n\nTITLE: Squeaking brakes after rain\n\nPOST: Every time it rains my brakes squeak for "
        "a mile. The pads are half worn and the rims look clean. Is this a thing to repair or to live with?\n\nTL;DR:"
    )
    for pair, row in zip(pairs, rows_of("tldr"), strict=True):
        texts = [summary["text"] for summary in row["summaries"]]
        assert (pair.chosen, pair.rejected) == (texts[row["choice"]], texts[1 - row["choice"]])
        assert pair.chosen[0] == pair.rejected[0] == " " and pair.chosen[1] != " "


def test_tldr_summaries_without_a_leading_space_get_one(tmp_path):
    path = write(tmp_path / "a.jsonl", changed(TLDR, "summaries", 0, "text", "Flat loaves.\n"))
    assert load_preferences("tldr", source=path)[0].chosen == " Flat loaves."


def test_news_articles_are_no_tldr():
    with pytest.warns(UserWarning, match=r"left out 1 of 2 rows. Because .*CNN/DailyMail.*tldr_news.jsonl, line 2$"):
        assert load_preferences("tldr", source=DATA / "tldr_news.jsonl")[0].prompt.startswith("SUBREDDIT")


@pytest.mark.parametrize("name", ["hh", "tldr", "imdb"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl.gz", "folder", "disk"])
def test_every_container_gives_the_same(name, kind, tmp_path):
    def load(source, split="train"):
        if name == "imdb":
            return paper_sets.imdb_reviews(source, split)
        return load_preferences(name, split, source)

    rows, path = rows_of(name), tmp_path / f"copy.{kind}"
    if kind == "parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress((DATA / f"{name}.jsonl").read_bytes()))
    elif kind == "disk":
        datasets.Dataset.from_list(rows).save_to_disk(path)
    else:  # as the hub's own repositories are laid out: HH in gzipped JSON lines, the others in Parquet
        for split, some in {"train": rows, "test": rows[:2]}.items():
            if name == "hh":
                (path / "helpful-base").mkdir(parents=True, exist_ok=True)
                lines = "\n".join(map(json.dumps, some)).encode()
                (path / "helpful-base" / f"{split}.jsonl.gz").write_bytes(gzip.compress(lines))
            else:
                (path / split).mkdir(parents=True)
                pd.DataFrame(some).to_parquet(path / split / "0000.parquet")
        assert load(path, split="test") == load(path)[:2]
    assert load(path) == load(DATA / f"{name}.jsonl")


def test_what_is_asked_of_the_hub(monkeypatch, tmp_path):
    """TL;DR from the Parquet copy of its comparisons, whose layout is built here: no script, not the axis ratings."""
    for config, rows in {"comparisons": rows_of("tldr"), "axis": [{"other": "columns"}]}.items():
        (tmp_path / config / "train").mkdir(parents=True)
        pd.DataFrame(rows).to_parquet(tmp_path / config / "train" / "0000.parquet")
    load_dataset, asked = datasets.load_dataset, []

    def from_disk(name, *, revision=None, **options):
        asked.append((name, revision))
        return load_dataset(str(tmp_path), cache_dir=tmp_path / "cache", **options)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", from_disk)
    assert load_preferences("tldr") == load_preferences("tldr", source=DATA / "tldr.jsonl")
    assert asked == [("openai/summarize_from_feedback", "refs/convert/parquet")]

    for name, hub_id in {"hh": "Anthropic/hh-rlhf", "imdb": "stanfordnlp/imdb"}.items():

        def one_row(*args, rows=(GOOD[name],), **options):
            asked.append((args, options))
            return datasets.Dataset.from_list(list(rows))

        monkeypatch.setattr(datasets, "load_dataset", one_row)
        ((where, _),) = paper_sets.usable_rows(name, split="test[:1]")
        assert where == f"{hub_id}, row 1" and asked[-1] == ((hub_id,), {"split": "test[:1]"})


# ------------------------------------------------------------------ what does not, and how it is named

UNUSABLE = {  # rows as the data sets really have them: left out, and named with the reason
    "hh no assistant": ("hh", HH | {"chosen": "\n\nHuman: Hi!"}, "chosen dialogue has no .*Assistant:"),
    "hh no empty line": ("hh", HH | {"rejected": "Human: Hi!\nAssistant: No."}, "rejected dialogue has no"),
    "hh empty dialogue": ("hh", HH | {"chosen": ""}, "chosen dialogue has no"),
    "hh ends in human": ("hh", HH | {"rejected": f"{ASKED} No.\n\nHuman: Oh."}, "rejected .* Human turn, not"),
    "hh empty answer": ("hh", HH | {"chosen": f"{ASKED} \n"}, "chosen answer.* is empty"),
    "hh other prompt": ("hh", HH | {"chosen": "\n\nHuman: Yo!\n\nAssistant: Ok."}, "differ before .* one prompt"),
    "hh more turns": ("hh", HH | {"chosen": f"{ASKED} So.\n\nHuman: Go.\n\nAssistant: Ok."}, "differ before"),
    "tldr news": ("tldr", NEWS, "CNN/DailyMail"),
    "tldr empty post": ("tldr", changed(TLDR, "info", "post", " "), "post or a summary is empty"),
    "tldr empty summary": ("tldr", changed(TLDR, "summaries", 1, "text", "\n"), "post or a summary is empty"),
    "imdb empty": ("imdb", {"text": " <br />", "label": 0}, "fewer than two words"),
    "imdb one word": ("imdb", {"text": "<br />Great!", "label": 1}, "fewer than two words"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_row_is_left_out_and_named(case, tmp_path):
    name, row, words = UNUSABLE[case]
    path = write(tmp_path / "copy.jsonl", GOOD[name], row, GOOD[name], row)
    with pytest.warns(
        UserWarning, match=f"{name}: left out 2 of 4 .*{words}.*copy.jsonl, line 2; .*line 4"
    ) as warned:
        read = paper_sets.imdb_reviews(path) if name == "imdb" else load_preferences(name, source=path)
    assert len(read) == 2 and len(warned) == 1 and warned[0].filename == __file__
    (places,) = paper_sets.unusable_rows(name, source=path).values()
    assert [place.split(", ")[-1] for place in places] == ["line 2", "line 4"]
    with pytest.raises(PreferenceError, match=f"left out 1 of 1 rows.*{words}"):
        paper_sets.usable_rows(name, source=write(tmp_path / "none.jsonl", row))


def test_many_unusable_rows_are_counted_and_all_listed(tmp_path):
    cut = HH | {"chosen": ASKED}
    path = write(tmp_path / "copy.jsonl", HH, *[cut] * 30, HH | {"rejected": "Hi."})
    with pytest.warns(UserWarning, match=r"left out 31 of 32 .*line 21; and 10 more. Because the rejected.*line 32"):
        load_preferences("hh", source=path)
    assert [len(places) for places in paper_sets.unusable_rows("hh", source=path).values()] == [30, 1]


def test_the_same_answer_twice_is_dropped_as_in_any_file(tmp_path):
    path = write(tmp_path / "copy.jsonl", HH, HH | {"rejected": HH["chosen"]})
    with pytest.warns(UserWarning, match="the same: .*line 2"):
        assert len(load_preferences("hh", source=path)) == 1


OTHER_FORM = {  # rows of no such data set: refused, with the form that would be right
    "hh no column": ("hh", {"prompt": "Hi", "rejected": "No"}, ["no 'chosen'", "'prompt', 'rejected'"]),
    "hh null": ("hh", HH | {"chosen": None}, ["'chosen' must be text, not null"]),
    "hh number": ("hh", HH | {"rejected": 3}, ["'rejected' must be text, not 3"]),
    "hh messages": ("hh", HH | {"chosen": [{"role": "user"}]}, ["'chosen' must be text, not [{"]),
    "hh no object": ("hh", ["a", "b"], ['is ["a", "b"], not an object']),
    "tldr no info": ("tldr", {"summaries": [], "choice": 0}, ["no 'info'"]),
    "tldr info": ("tldr", TLDR | {"info": "post"}, ["'info' must be an object"]),
    "tldr no choice": ("tldr", {k: v for k, v in TLDR.items() if k != "choice"}, ["no 'choice'"]),
    "tldr choice null": ("tldr", TLDR | {"choice": None}, ["'choice' must be a whole number, not null"]),
    "tldr choice bool": ("tldr", TLDR | {"choice": True}, ["'choice' must be a whole number, not true"]),
    "tldr choice 2": ("tldr", TLDR | {"choice": 2}, ["2 summaries and choice 2"]),
    "tldr choice -1": ("tldr", TLDR | {"choice": -1}, ["2 summaries and choice -1"]),
    "tldr one summary": ("tldr", TLDR | {"summaries": TLDR["summaries"][:1]}, ["1 summaries"]),
    "tldr no text": ("tldr", TLDR | {"summaries": [{"policy": "ref"}] * 2}, ["a summary: no 'text'", "'policy'"]),
    "tldr plain summaries": ("tldr", TLDR | {"summaries": ["a", "b"]}, ['a summary: is "a", not an object']),
    "tldr summary null": ("tldr", changed(TLDR, "summaries", 1, "text", None), ["a summary: 'text' must be text"]),
    "tldr no post": ("tldr", changed(TLDR, "info", "post", None), ["info: 'post' must be text, not null"]),
    "tldr no subreddit": ("tldr", changed(TLDR, "info", "subreddit", 7), ["info: 'subreddit' must be text, not 7"]),
    "imdb no text": ("imdb", {"review": "Good.", "label": 1}, ["no 'text'", "'review', 'label'"]),
    "imdb null": ("imdb", {"text": None, "label": 1}, ["'text' must be text, not null"]),
}


@pytest.mark.parametrize("case", OTHER_FORM)
def test_a_row_of_another_form_is_refused_by_name(case, tmp_path):
    name, row, words = OTHER_FORM[case]
    path = write(tmp_path / "copy.jsonl", GOOD[name], row)
    with pytest.raises(PreferenceError) as error:
        paper_sets.imdb_reviews(path) if name == "imdb" else load_preferences(name, source=path)
    for word in ["copy.jsonl, line 2: ", *words, f"; a row of {name!r} is {paper_sets.DATA[name].form}"]:
        assert word in str(error.value)


def test_names_and_sources_that_do_not_go_together(tmp_path):
    with pytest.raises(PreferenceError, match=r"without comparisons: .*sentiment_pairs"):
        load_preferences("imdb")
    with pytest.raises(PreferenceError, match="source is for 'hh' and 'tldr'"):
        load_preferences(DATA / "hh.jsonl", source=DATA / "hh.jsonl")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        load_preferences("hh", source=tmp_path / "nowhere")
    for content in (b"\x1f\x8b broken", gzip.compress(b"x" * 999)[:20]):
        (tmp_path / "cut.jsonl.gz").write_bytes(content)
        with pytest.raises(PreferenceError, match=r"cut\.jsonl\.gz: not a whole gzip file"):
            load_preferences("hh", source=tmp_path / "cut.jsonl.gz")


# ------------------------------------------------------------------ without a network


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)


@pytest.mark.parametrize("name", ["hh", "tldr", "imdb"])
def test_no_network_is_one_clear_message_at_once(name, no_network, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", None)  # which would ask again for half a minute
    with pytest.raises(PreferenceError) as error:
        paper_sets.imdb_reviews() if name == "imdb" else load_preferences(name)
    call = "imdb_reviews(source=" if name == "imdb" else f'load_preferences("{name}", source='
    hub_id = paper_sets.DATA[name].hub_id
    for words in (repr(name), hub_id, "'train'", "OSError: no route to host", call, "worlds.verdicts"):
        assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_offline_by_environment_is_as_clear(tmp_path):
    """HF_HUB_OFFLINE is read when the libraries are imported, so this takes a process of its own."""
    code = (
        "from dpo_book import load_preferences\n"
        "from dpo_book.data import paper_sets; from dpo_book.worlds import imdb\n"
        "for load in (lambda: load_preferences('hh'), lambda: load_preferences('tldr'), paper_sets.imdb_reviews,\n"
        "             imdb.sentiment_reward):\n"
        "    try: load()\n"
        "    except (ValueError, OSError) as error: print(type(error).__name__, error)\n"
    )
    env = os.environ | KERNEL_ENV | {"HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["PreferenceError"] * 3 + ["RewardNotFoundError"]
    for line, words in zip(lines, ("hh-rlhf", "summarize_from_feedback", "imdb", "siebert/"), strict=True):
        assert words in line and "etwork" in line


def test_no_sentiment_model_names_vader_and_does_not_fall_back(no_network):
    with pytest.raises(imdb.RewardNotFoundError, match=r'siebert/.*folder.*sentiment_reward\("vader"\)'):
        imdb.sentiment_reward()


# ------------------------------------------------------------------ IMDb: prompts, rewards, comparisons


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([row["text"] for row in rows_of("imdb")] * 3, vocab_size=300)


def test_reviews_lose_their_marks():
    reviews = paper_sets.imdb_reviews(DATA / "imdb.jsonl")
    assert len(reviews) == 6 and not any("<br" in review or "  " in review for review in reviews)
    assert reviews[0].endswith("humming the tune. The cast is great, the ending a delight.")


def test_prompts_are_the_first_two_to_eight_tokens(tokenizer):
    reviews = paper_sets.imdb_reviews(DATA / "imdb.jsonl") * 50
    prompts = imdb.imdb_prompts(reviews, tokenizer, seed=1)
    assert {len(prompt) for prompt in prompts} == set(range(2, 9))
    for prompt, review in zip(prompts, reviews, strict=True):
        assert prompt == tokenizer(review).input_ids[: len(prompt)]
    assert prompts == imdb.imdb_prompts(reviews, tokenizer, seed=1) != imdb.imdb_prompts(reviews, tokenizer, seed=2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_review_begins_as_the_tokenizer_begins_any_text_and_never_ends_before_its_end(kind):
    tokenizer, review = KINDS[kind](), "The film was good and the ending was bad."
    (prompt,) = imdb.imdb_prompts([review], tokenizer)
    ((start, rest),) = imdb.imdb_examples([review], tokenizer)
    opening, ids = opening_ids(tokenizer), plain_ids(tokenizer, [review])[0]
    assert prompt == start and 2 <= len(prompt) - len(opening) <= 8
    assert start + rest == [*opening, *ids, tokenizer.eos_token_id]


def test_vader_reward():
    reward = imdb.sentiment_reward("vader")
    assert reward("The film is", " great.") > reward("The film is", " not great.")
    assert reward("The film is gre", "at.") == reward("The film is", " great.")  # prompt and response are one text
    assert -2 <= reward("Bad, bad,", " terrible.") < 0 == reward("The", " table.")


def save_classifier(folder, tokenizer, labels):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_layer=1, n_head=2, n_embd=8, pad_token_id=0, id2label=dict(enumerate(labels))
    )
    model = GPT2ForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


@pytest.mark.parametrize("labels", [("NEGATIVE", "POSITIVE"), ("positive", "neutral", "negative")])
def test_a_sentiment_model_from_a_folder_gives_log_odds(labels, tokenizer, tmp_path, no_network):
    model = save_classifier(tmp_path, tokenizer, labels)
    reward = imdb.sentiment_reward(str(tmp_path))
    with torch.no_grad():
        p = model(**tokenizer("A good film.", return_tensors="pt")).logits.softmax(-1)[0]
    p = p[[label.lower() for label in labels].index("positive")]
    assert reward("A good", " film.") == pytest.approx(float(torch.logit(p)), abs=1e-5)
    assert isinstance(reward("A", "good film. " * 500), float)  # longer than a classifier reads


def test_many_texts_are_judged_as_each_alone(tokenizer, tmp_path, no_network):
    save_classifier(tmp_path, tokenizer, ("NEGATIVE", "POSITIVE"))
    score = imdb.sentiment_scorer(str(tmp_path))
    texts = [f"A {'very ' * (row % 7)}good film." for row in range(70)]  # more than are read at once
    alone = torch.cat([score([text]) for text in texts])
    assert torch.allclose(score(texts), alone, atol=1e-5) and len(set(alone.tolist())) > 1


def test_a_model_of_something_else_is_refused(tokenizer, tmp_path):
    save_classifier(tmp_path, tokenizer, ("LABEL_0", "LABEL_1"))
    with pytest.raises(ValueError, match="must be positive, and they are: label_0, label_1"):
        imdb.sentiment_reward(str(tmp_path))
    with pytest.raises(imdb.RewardNotFoundError, match="vader"):
        imdb.sentiment_reward(str(tmp_path / "empty"))


def test_imdb_end_to_end(tokenizer):
    policy = build_policy("mini", tokenizer)
    prompts = imdb.imdb_prompts(paper_sets.imdb_reviews(DATA / "imdb.jsonl") * 12, tokenizer)
    seen = []

    def reward(prompt, response):
        seen.append((prompt, response))
        return len(response) / 10

    made = {"completions": 3, "max_new_tokens": 5, "labels": "soft", "seed": 3}
    pairs = imdb.sentiment_pairs(policy, tokenizer, prompts, reward, **made)
    check_pairs(pairs)
    assert len(pairs) == 3 * len(prompts) and len(seen) == 3 * len(prompts)  # three completions, three pairs
    assert [pair.prompt for pair in pairs] == prompts * 3
    assert {prompt for prompt, _ in seen} == set(tokenizer.batch_decode(prompts))
    for pair in pairs:
        r_w, r_l = (len(tokenizer.decode(y, skip_special_tokens=True)) / 10 for y in (pair.chosen, pair.rejected))
        expected = preference_probability(torch.tensor(r_w).double(), torch.tensor(r_l).double())
        assert pair.chosen_probability == pytest.approx(float(expected), abs=1e-6)
    assert pairs == imdb.sentiment_pairs(policy, tokenizer, prompts, reward, **made)

    vader = imdb.sentiment_reward("vader")
    hard = imdb.sentiment_pairs(policy, tokenizer, prompts[:6], vader, max_new_tokens=4)
    assert len(hard) == 36 and all(pair.chosen_probability == 1 for pair in hard)


def test_pairs_of_the_comparisons_are_ready_for_training(tokenizer):
    for name in ("hh", "tldr"):
        pairs = tokenize_pairs(load_preferences(name, source=DATA / f"{name}.jsonl"), tokenizer)
        check_pairs(pairs)
        assert all(tokenizer.decode(pair.chosen).startswith(" ") for pair in pairs)
