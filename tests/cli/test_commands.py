"""The commands on the paper's data sets by name, on ``gpt2`` with and without the hub, and what TRL makes of it."""

import json

import huggingface_hub
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from dpo_book import build_policy, train_tokenizer
from dpo_book.worlds import imdb
from tests.small_data import PREFERENCES

TINY = ("--steps=2", "--batch-size=2", "--learning-rate=1e-3", "--warmup-steps=0")
REVIEWS = ("--data=imdb", "--source=tests/samples/imdb.jsonl")
IMDB = (*REVIEWS, "--judge=vader", "--prompts=3")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def start(tmp_path):
    """A new mini policy in a folder, with words enough for all three data sets."""
    tokenizer = train_tokenizer(["a film about a dog", "Human: Hello. Assistant: Hi."] * 9, vocab_size=300)
    tokenizer.save_pretrained(tmp_path / "start")
    build_policy("mini", tokenizer).save_pretrained(tmp_path / "start")
    return tmp_path / "start"


@pytest.fixture
def no_hub(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)


def losses(out) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


# Posts and dialogues of hundreds of bytes; the tiny tokenizer makes nearly a token of each.
@pytest.mark.parametrize("name", ["hh", "tldr"])
@pytest.mark.filterwarnings("ignore:.*left out:UserWarning", "ignore:dropped:UserWarning")
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_hh_and_tldr_train_by_name(book, start, tmp_path, name, method):
    data = ("--data", name, "--source", f"tests/samples/{name}.jsonl", "--drop-long")
    status, _, said = book(method, "--policy", start, *data, "--out", tmp_path / "run", *TINY)
    assert status == 0, said
    assert len(losses(tmp_path / "run")) == 2


def test_imdb_trains_by_name_on_its_reviews_and_on_comparisons_of_the_policy_s_own(
    book, start, tmp_path, monkeypatch
):
    made = []
    pairs_of = imdb.sentiment_pairs
    monkeypatch.setattr(imdb, "sentiment_pairs", lambda *a: made.append(pairs_of(*a)) or made[-1])
    imitator = tmp_path / "sft" / "model"
    assert book("sft", "--policy", start, *REVIEWS, "--out", tmp_path / "sft", *TINY)[0] == 0
    assert not made  # reviews are imitated, nobody compares
    status, _, said = book("dpo", "--policy", imitator, *IMDB, "--out", tmp_path / "dpo", *TINY)
    assert status == 0, said
    assert len(made) == 1 and len(made[0]) == 3 * 6  # of three prompts, four completions make six pairs each
    assert book("dpo", "--policy", imitator, *IMDB, "--out", tmp_path / "again", *TINY)[0] == 0
    assert len(made) == 1  # drawn once, then kept
    data = json.loads((tmp_path / "dpo" / "data.json").read_text())
    assert (data["rows"], data["most_tokens"], data["cut"]) == (18, None, 0)  # what is drawn is not cut
    assert losses(tmp_path / "again") == losses(tmp_path / "dpo")
    policies = ("--policy", tmp_path / "dpo" / "model", "--reference", imitator)
    status, printed, said = book("evaluate", *policies, *IMDB, "--samples=4", "--max-new-tokens=4")
    assert status == 0 and "accuracy" in printed, said


def test_without_the_paper_s_judge_vader_compares_and_the_command_says_so(book, start, tmp_path, no_hub):
    data = (*REVIEWS, "--prompts=3")
    status, _, said = book("dpo", "--policy", start, *data, "--out", tmp_path / "run", *TINY)
    assert status == 0, said
    assert "siebert/sentiment-roberta-large-english cannot be had (no network?): VADER judges instead" in said
    assert book("dpo", "--policy", start, *IMDB, "--out", tmp_path / "vader", *TINY)[0] == 0
    assert losses(tmp_path / "run") == losses(tmp_path / "vader")


@pytest.mark.parametrize(
    ("method", "options", "word"),
    [
        ("sft", ("--prompts=3",), "--prompts is for methods that compare"),
        ("sft", ("--judge=vader",), "--judge is for methods that compare"),
        ("sft", ("--drop-long",), "--drop-long is for methods that compare"),
        ("sft", ("--max-length=2",), "no review has a token left to imitate within 2 tokens"),
        ("sft", ("--max-length=5000",), "--max-length 5000 is more than the models' context of 256 tokens"),
        ("dpo", ("--max-length=3",), "--max-length is not for imdb's comparisons"),
        ("reward", ("--drop-long",), "--drop-long is not for imdb's comparisons"),
    ],
)
def test_what_imdb_has_no_use_for_is_refused(book, start, tmp_path, method, options, word):
    status, printed, said = book(method, "--policy", start, *REVIEWS, *options, "--out", tmp_path / "run", *TINY)
    assert (status, printed, said.count("\n")) == (2, "", 1) and word in said
    assert not (tmp_path / "run").exists()


def test_a_judge_that_was_asked_for_and_cannot_be_had_is_one_line(book, start, tmp_path, no_hub):
    data = (*REVIEWS, "--prompts=2", "--judge=somebody/sentiment")
    status, printed, said = book("dpo", "--policy", start, *data, "--out", tmp_path / "run", *TINY)
    assert (status, printed, said.count("\n")) == (2, "", 1)
    assert "somebody/sentiment" in said and "--judge vader" in said
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_used_is_said_before_the_reference_runs(book, start, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    data = ("--data", PREFERENCES, "--drop-long")
    status, _, said = book("dpo", "--policy", start, *data, "--out", tmp_path / "full", *TINY)
    assert status == 2 and "full is not empty and holds no run" in said
    assert not list((tmp_path / "cache").glob("reference-logps*"))
    assert book("dpo", "--policy", start, *data, "--out", tmp_path / "run", *TINY)[0] == 0
    assert list((tmp_path / "cache").glob("reference-logps*"))


def test_gpt2_without_a_network_is_one_line_that_names_the_fallback(book, tmp_path, no_hub):
    data = ("--data", PREFERENCES)
    status, printed, said = book("dpo", "--policy", "gpt2", *data, "--out", tmp_path / "run", *TINY)
    assert (status, printed, said.count("\n")) == (2, "", 1)
    assert said.startswith("dpo_book: no policy could be loaded from 'gpt2'") and "sft --policy mini" in said
    assert not (tmp_path / "run").exists()


def test_gpt2_from_a_folder_goes_the_same_way(book, tmp_path, monkeypatch, no_hub):
    """A GPT-2 as the hub holds it: dropout on in its configuration, "gelu_new", no padding token."""
    tokenizer = train_tokenizer(["a film about a dog"] * 9, vocab_size=300)
    tokenizer.pad_token = None
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 32}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, **shape))
    assert model.config.resid_pdrop == 0.1 and model.config.activation_function == "gelu_new"
    monkeypatch.chdir(tmp_path)  # where a folder of this name stands, it is meant, and no hub is asked
    model.save_pretrained("gpt2")
    tokenizer.save_pretrained("gpt2")
    rows = [{"prompt": "a film", "chosen": " about a dog", "rejected": f" about {'a ' * n}film"} for n in range(1, 5)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = ("--data", "pairs.jsonl", "--out", "run", "--steps=8", "--batch-size=4", "--learning-rate=3e-3")
    status, _, said = book("dpo", "--policy", "gpt2", *run)
    assert status == 0, said
    assert losses(tmp_path / "run")[0] == pytest.approx(0.6931, abs=1e-4)  # no dropout: ln 2
    assert losses(tmp_path / "run")[-1] < 0.69


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_transformers_and_trl_go_on_with_a_trained_model(book, start, tmp_path):
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    data = ("--data", PREFERENCES, "--drop-long")
    status, _, said = book("dpo", "--policy", start, *data, "--out", tmp_path / "run", *TINY)
    assert status == 0, said
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    rows = [{"prompt": "A film", "chosen": " to see", "rejected": " to forget"}] * 2
    settings = {"output_dir": str(tmp_path / "trl"), "max_steps": 1, "per_device_train_batch_size": 2}
    settings |= {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    trainer = trl.DPOTrainer(
        model=model, args=trl.DPOConfig(**settings), train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )
    assert trainer.train().training_loss == pytest.approx(0.6931, abs=1e-4)  # policy and reference are one
