"""The paper's sentiment experiment by one command: from files to a table, killed and gone on with, or refused."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from dpo_book import RewardConfig, build_policy, train_tokenizer
from dpo_book.cli.imdb_options import ALWAYS, PROMPTS, ImdbOptions
from dpo_book.cli.imdb_reviews import reviews_of
from dpo_book.data.pairs import bradley_terry_pairs
from dpo_book.frontier import table
from dpo_book.frontier.material import NothingToCompare, draw_material
from dpo_book.frontier.methods import METHODS
from dpo_book.frontier.plans import imdb_plan
from dpo_book.frontier.sampled import SampledArena
from dpo_book.frontier.table import FrontierError, Run, compute, read
from dpo_book.frontier.work import AT_ONCE, Counted, Sizes
from dpo_book.training.updates import TrainingDiverged
from dpo_book.worlds import references
from dpo_book.worlds.film_reviews import FilmReviews
from dpo_book.worlds.imdb import SENTIMENT_MODEL, imdb_prompts
from tests.frontier.film_reviews import WORDS, write_policy, write_reviews
from tests.frontier.test_frontier import UNREPEATED, in_this_process

SMALL = (
    "--judge=vader", "--size=small", "--prompts=6", "--eval-prompts=8", "--batch-size=4", "--max-new-tokens=6",
    "--measurements=2", "--betas=0.1", "--alphas=0.5", "--best-of=4", "--sft-length=16",
)  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Reviews and a policy in folders, and a cache of their own."""
    folder = tmp_path_factory.mktemp("imdb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPO_BOOK_CACHE", str(folder / "cache"))
        yield ("--policy", write_policy(folder / "policy"), "--source", write_reviews(folder / "reviews"))


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """The pool's processes would take seconds to import what they need."""
    monkeypatch.setattr(table, "_measured", in_this_process)


@pytest.fixture
def imdb(book, given):
    return lambda *options: book("frontier", "imdb", *given, *SMALL, *options)


def test_from_reviews_to_table_figure_and_manifest(imdb, tmp_path):
    status, printed, said = imdb("--out", tmp_path)
    assert status == 0, said
    frame = read(tmp_path / "imdb.csv")
    ends = frame[frame["last"]]
    assert set(ends["method"]) == set(METHODS) and set(ends["world"]) == {"imdb"}
    assert set(ends.loc[ends["method"] == "dpo", "strength"]) == {0.1}
    assert len(ends) == len(METHODS)
    assert ends.loc[ends["method"] == "sft", "kl"].tolist() == [0]
    trained = ends[ends["method"].isin(["dpo", "ppo-gt", "preferred-ft"])]
    assert (trained["kl_error"] > 0).all() and (trained["reward_error"] > 0).all()
    samples = json.loads(ends.iloc[0]["samples"])
    # Measured on the test split's prompts alone; a prompt of two tokens may end before the word that tells.
    starts = ["the test film was", "the train film was"]
    fits = [[text.startswith(prompt) or prompt.startswith(text) for text in starts] for prompt, _ in samples]
    assert len(samples) == 8 and all(ours for ours, _ in fits) and not all(theirs for _, theirs in fits)

    about = json.loads((tmp_path / "imdb.json").read_text())
    assert about["comparisons"] == 6 * 6 and about["budget"] == 4 * about["comparisons"]
    assert about["judge"] == "vader" and about["labels"] == "sure" and about["completions"] == 4
    assert about["reviews"].startswith("40 rows") and about["held_out"].startswith("12 rows")
    assert about["reference"].split(",")[0].endswith("files")
    assert (tmp_path / "imdb.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "imdb.svg").read_text()[:1000]
    assert "operations of matrix products" in printed and "Figure 2, left" in printed
    assert not (tmp_path / "imdb-reference.checkpoint").exists()


@pytest.fixture
def undrawn(monkeypatch):
    """A figure takes a second."""
    monkeypatch.setattr("dpo_book.cli.imdb.draw", lambda *_: None)


def test_killed_between_runs_it_ends_in_the_same_table(imdb, tmp_path, monkeypatch, undrawn):
    methods = ("--methods", "sft", "preferred-ft", "dpo")
    assert imdb("--out", tmp_path / "whole", *methods)[0] == 0

    def stopped(*arguments):
        yield next(in_this_process(*arguments))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(table, "_measured", stopped)
        assert imdb("--out", tmp_path / "killed", *methods)[0] == 130
    assert set(read(tmp_path / "killed" / "imdb.csv")["method"]) == {"sft"}
    assert imdb("--out", tmp_path / "killed", *methods)[0] == 0
    frames = [read(tmp_path / name / "imdb.csv").drop(columns=UNREPEATED) for name in ("whole", "killed")]
    pd.testing.assert_frame_equal(*frames)
    names = ("imdb.json", "imdb.csv")
    before = [(tmp_path / "killed" / name).read_bytes() for name in names]
    status, _, said = imdb("--out", tmp_path / "killed", "--labels=hard")
    assert status == 2 and "labels was 'sure' there and is 'hard' now" in said
    assert [(tmp_path / "killed" / name).read_bytes() for name in names] == before


def test_a_reference_that_was_killed_in_training_ends_the_same(imdb, tmp_path, monkeypatch, undrawn):
    """Its steps are counted: two epochs of 40 reviews, 4 at once, are 20, and 8 were done."""
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(references, "CHECKPOINT_EVERY", 4)
    train_sft, steps = references.train_sft, []

    def counted(*arguments):
        for record in train_sft(*arguments):
            steps.append(record["step"])
            yield record
            if record["step"] == 8 and len(steps) == 8:
                raise KeyboardInterrupt

    monkeypatch.setattr(references, "train_sft", counted)
    command = ("--methods", "sft", "--sft-epochs", "2")
    status, _, _ = imdb("--out", tmp_path / "killed", *command)
    assert status == 130 and (tmp_path / "killed" / "imdb-reference.checkpoint").exists()
    assert imdb("--out", tmp_path / "killed", *command)[0] == 0
    assert steps[8] == 5 and steps[-1] == 20  # from the last checkpoint before the kill
    monkeypatch.setenv("DPO_BOOK_CACHE", str(tmp_path / "another cache"))
    assert imdb("--out", tmp_path / "whole", *command)[0] == 0
    about = [json.loads((tmp_path / name / "imdb.json").read_text()) for name in ("whole", "killed")]
    assert about[0] == about[1]  # with a digest of the reference's weights


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--source", "none.jsonl"), "none.jsonl: no such file"),
        (("--prompts", "41"), "--prompts 41 is more than the 40 reviews"),
        (("--eval-prompts", "13"), "has 12 reviews, fewer than --eval-prompts 13"),
        (("--eval-split", "train", "--eval-prompts", "40"), "leaves none to learn from"),
        (("--eval-split", "validation"), "no split 'validation'; there are: train, test"),
        (("--judge", "somebody/sentiment"), "--judge vader"),
        (("--policy", "nobody/gpt"), "no policy could be loaded from 'nobody/gpt'"),
        (("--max-new-tokens", "20"), "does not fit in the policy's context of 16"),
        (("--budget", "10"), "budget must be at least"),
        (("--reward-steps", "1000"), "budget must be at least"),
        (("--completions", "1"), "completions must be a whole number of at least 2"),
        (("--best-of", "0"), "--best-of must be a whole number of at least 1"),
        (("--batch-size", "1"), "--batch-size must be a whole number of at least 2"),
        (("--alphas", "0.1", "0.1"), "--alphas needs one value or more, none of them twice"),
        (("--learning-rate", "0"), "--learning-rate must be a finite number above 0"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line_before_anything_is_written(
    book, given, tmp_path, options, said, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    usual = dict(zip(given[::2], given[1::2], strict=True)) | dict(option.split("=") for option in SMALL)
    left = {name: value for name, value in usual.items() if name not in options}
    arguments = itertools.chain.from_iterable(left.items())
    status, printed, told = book("frontier", "imdb", *arguments, *options, "--out", tmp_path / "new")
    assert (status, printed, told.count("\n")) == (2, "", 1) and said in told
    assert not (tmp_path / "new").exists()


def test_options_of_imdb_are_refused_for_another_world(book, tmp_path):
    status, _, said = book("frontier", "verdicts", "--judge", "vader", "--out", tmp_path / "new")
    assert (status, said) == (2, "dpo_book: --judge is for the world imdb: leave it out\n")


def test_without_a_test_split_some_reviews_are_held_out(given):
    file = given[3] / "train.jsonl"
    options = ImdbOptions(policy="mini", source=str(file), eval_prompts=10).settled("small")
    reviews, held_out = reviews_of(options)
    everything = [json.loads(line)["text"] for line in file.read_text().splitlines()]
    assert len(held_out) == 10 and sorted(reviews + held_out) == sorted(everything)
    assert (reviews, held_out) == reviews_of(options)


def test_the_usual_judge_is_the_paper_s():
    assert ALWAYS["judge"] == SENTIMENT_MODEL


# ------------------------------------------------------------------ the arena


def length_of(texts):
    """A judge for a policy that has learned nothing, none of whose words VADER knows."""
    return torch.tensor([float(len(text)) for text in texts])


def zeros_of(texts):
    return torch.zeros(len(texts))


@pytest.fixture(scope="module")
def world():
    texts = [f"the film was {word} and the plot was {other}" for word, other in itertools.combinations(WORDS, 2)]
    tokenizer = train_tokenizer(texts, vocab_size=330)
    prompts = imdb_prompts(texts, tokenizer)
    return FilmReviews(tokenizer, prompts[:20], prompts[20:], length_of, max_new_tokens=6)


@pytest.fixture(scope="module")
def reference(world):
    """A policy that likes the words it was built with at random, so that its samples differ."""
    return build_policy("nano", world.tokenizer, seed=2)


def test_four_completions_make_six_pairs_of_which_the_higher_reward_wins(world, reference):
    arena = SampledArena("imdb", world, reference, completions=4, labels="sure", samples_a_prompt=1)
    pairs, tokens = arena.comparisons(6 * 10, seed=3)
    assert 0 < len(pairs) <= 60 and 10 * 4 <= tokens <= 10 * 4 * 6
    prompts = {tuple(pair.prompt) for pair in pairs}
    assert prompts <= {tuple(prompt) for prompt in world.draw_prompts(10, seed=3)}
    prompts = [pair.prompt for pair in pairs]
    chosen = world.rewards_of(prompts, [pair.chosen for pair in pairs])
    rejected = world.rewards_of(prompts, [pair.rejected for pair in pairs])
    assert (chosen > rejected).all()
    assert pairs == arena.comparisons(6 * 10, seed=3)[0] != arena.comparisons(6 * 10, seed=4)[0]


def test_two_completions_make_the_pairs_that_they_always_made(world, reference):
    """The stored tables of the worlds were computed from these."""
    arena = SampledArena("open", world, reference)
    prompts = world.draw_prompts(12, 5)
    a, b = (arena.sample(reference, prompts, seed) for seed in (10, 11))
    expected = bradley_terry_pairs(prompts, a, b, world.rewards_of(prompts, a), world.rewards_of(prompts, b), seed=5)
    pairs, tokens = arena.comparisons(12, 5)
    assert pairs == expected and tokens == sum(map(len, a + b))


def test_the_reward_is_of_the_whole_text(world):
    ids = world.tokenizer(["the film was", " good and great"]).input_ids
    assert world.rewards_of([ids[0]], [ids[1]]).item() == len("the film was good and great")
    assert len(world.prompts) == len(world.prompt_ids) == 8


def test_a_judge_who_tells_nothing_apart_is_told_of(world, reference):
    blind = FilmReviews(world.tokenizer, world.draw_prompts(8), world.prompt_ids, zeros_of, max_new_tokens=6)
    arena = SampledArena("imdb", blind, reference, completions=4, labels="sure", depends_on={"judge": "blind"})
    with pytest.raises(NothingToCompare, match="48 comparisons"):
        draw_material(arena, 48, RewardConfig(steps=1), 0)


# ------------------------------------------------------------------ the work, counted before


def test_operations_of_a_row_are_those_of_the_architecture(reference):
    """GPT-2: 12 d² weights a block, 2 operations a weight and token; attention's two products; the head's."""
    T, d, blocks = 11, reference.config.n_embd, reference.config.n_layer
    sizes = Sizes(reference, T)
    body = blocks * (2 * T * 12 * d * d + 2 * 2 * T * T * d)
    assert sizes.looked_body == body
    assert sizes.looked == body + 2 * T * d * reference.config.vocab_size
    assert sizes.passed == 3 * sizes.looked


def test_what_a_run_takes_follows_its_budget(reference):
    plan = imdb_plan(comparisons=60, parameters=reference.num_parameters(), batch_size=4, measurements=2)
    sizes = Sizes(reference, 14)
    counted = Counted(plan, sizes, judged=7, max_new_tokens=6, completions=4, eval_prompts=AT_ONCE + 1)
    material = counted.frontier([Run("sft", 0.0, 0)])
    assert material.training == plan.reward_passes() * sizes.passed_body == 60 * 2 * sizes.passed_body
    # 60 comparisons come from 40 completions, sampled, judged and scored; the reference is measured once.
    measured = (AT_ONCE + 1) * (3 * sizes.looked + sizes.looked_body + 7)
    assert material.looking == 40 * (2 * sizes.looked + 7) + measured
    assert material.sampling == 6 + 2 * 6  # batches of 40, of 256 and of 1
    dpo = counted.frontier([Run("dpo", 0.1, 0)])
    assert dpo.training - material.training == plan.budget * sizes.passed
    assert dpo.looking - material.looking == 2 * measured
    both = counted.frontier([Run("dpo", 0.1, 0), Run("dpo", 1.0, 0)])
    assert both.training + material.training == 2 * dpo.training
    assert both.hours() > dpo.hours() > material.hours() > 0


# ------------------------------------------------------------------ a run that diverges


def test_a_run_that_diverges_is_told_of_when_all_others_are_in_the_table(tmp_path, monkeypatch):
    def measured(site, plan, run):
        if run.method == "unlikelihood":
            raise TrainingDiverged(7, "loss", "Because.")
        return [{name: 0 for name in table.COLUMNS} | run._asdict() | {"step": 0, "last": True}]

    monkeypatch.undo()
    monkeypatch.setattr(table, "measure_run", measured)
    monkeypatch.setattr(table, "workers", ThreadPoolExecutor)
    plan = imdb_plan(comparisons=60, parameters=1_000_000, batch_size=4, measurements=2)
    progress = compute(tmp_path, "verdicts", plan, ("unlikelihood", "sft", "dpo"), processes=1)
    with pytest.raises(FrontierError, match=r"unlikelihood 0\.05, seed 0: step 7: the loss is not finite"):
        list(progress)
    assert len(read(tmp_path / "verdicts.csv")) == 1 + 4


def test_the_rates_of_a_large_policy_are_those_of_large_ones():
    plan = imdb_plan(comparisons=600, parameters=774_030_080, batch_size=64, measurements=6)
    assert plan.learning_rates["dpo"] == 1e-6 and plan.learning_rates["preferred-ft"] == 1e-5
    assert set(plan.learning_rates) == set(METHODS) - {"sft", "best-of-n"}


def test_the_stored_table_is_whole_and_of_the_plan_that_stands_in_the_package():
    """Beside it stands how it was made: `frontier imdb --size small` with one learning rate for all methods."""
    folder = Path(__file__).parents[2] / "notebooks" / "results"
    about = json.loads((folder / "imdb-small.json").read_text())
    plan = imdb_plan(comparisons=6 * PROMPTS["small"], parameters=about["parameters"], batch_size=32, measurements=6)
    plan = replace(plan, learning_rates=dict.fromkeys(plan.learning_rates, 3e-4))
    assert json.loads(json.dumps(asdict(plan))).items() <= about.items()
    stored = read(folder / "imdb-small.csv")
    assert {Run(*key) for key in stored[table.RUN].itertuples(index=False)} == set(table.runs_of(plan))
    assert {about[name] for name in ("hardware", "versions")} == set(stored["hardware"]) | set(stored["versions"])


def test_the_least_budget_is_one_step_of_ppo_that_can_be_run():
    plan = imdb_plan(comparisons=60, parameters=1_000_000, batch_size=4, measurements=2)
    plan = replace(plan, budget=plan.reward_passes() + plan.rollout_passes())
    assert METHODS["ppo"].steps(plan) == 1
    config = replace(plan.ppo, steps=1, batch_size=plan.batch_size)  # SettingError if the warm-up were longer
    assert config.warmup_updates < config.updates == 4
