"""``judge``: each kind of judge on real completions, what it leaves, a stop at any time, and slips in one line."""

import csv
import json
import ssl

import pytest
import torch
from filelock import FileLock
from transformers import GPT2Config, GPT2LMHeadModel

from dpo_book import build_reward_model, train_tokenizer
from dpo_book.cli import interrupt
from dpo_book.evaluation import completions
from dpo_book.evaluation.reward_judge import token_rows
from dpo_book.models.reward_loading import load_reward_model
from dpo_book.models.reward_model import rewards_of
from tests.evaluation.judge_server import KEY, serving, texts_of

PROMPTS = ["the film", "a dog", "a very dull film", "the dog is", "good", "the dull one"]
TEXTS = ["the film is a very good one", "a dull film about a dog"]
SHORT = ("--max-new-tokens=5", "--temperatures=1,0")
RESULT = ("judged.csv", "win_rates.png")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two tiny policies, each with a tokenizer of its own, and a reward model of the first: folders a, b, rm."""
    folder = tmp_path_factory.mktemp("models")
    for seed, (name, size) in enumerate({"a": 280, "b": 270}.items()):
        tokenizer = train_tokenizer(TEXTS * 9, vocab_size=size)
        ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
        shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 64, "initializer_range": 0.5}
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape, **ends))
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        if name == "a":
            build_reward_model(model, seed=3).save_pretrained(folder / "rm")
            tokenizer.save_pretrained(folder / "rm")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six prompts, the first of them twice."""
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [{"prompt": prompt, "chosen": f" {prompt} again", "rejected": " no"} for prompt in PROMPTS]
    rows.append({"prompt": PROMPTS[0], "chosen": " never read", "rejected": " no"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(book, models, data, tmp_path):
    """``run(*options)``: the command on these data with policy a, into tmp_path/judged."""

    def run(*options, out="judged"):
        return book("judge", "--policy", models / "a", "--data", data, "--out", tmp_path / out, *SHORT, *options)

    return run


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Nothing here goes over TLS, and to read the list of authorities takes longer than all of these tests.
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: None)


def endpoint(server, *options: str) -> tuple[str, ...]:
    asked = (f"--endpoint={server.url}", "--judge-model=m", "--instruction=plain", "--key-variable=JUDGE_KEY")
    return (*asked, *options)


def refused(answer: tuple[int, str, str], *words: str) -> None:
    """One line, below the bars of what was drawn before."""
    status, printed, said = answer
    lines = [line for line in said.replace("\r", "\n").splitlines() if line.startswith("dpo_book: ")]
    assert (status, printed, len(lines)) == (2, "", 1), said
    assert all(word in lines[0] for word in words), said


def table(folder) -> list[dict]:
    with open(folder / "judged.csv", newline="") as file:
        return list(csv.DictReader(file))


def samples(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def of(drawn: list[dict], temperature: float, side: str) -> list[dict]:
    return [one for one in drawn if (one["temperature"], one["side"]) == (temperature, side)]


def mean_words(texts: list[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts)


# ------------------------------------------------------------------ judges


def test_a_reward_model_judges_two_policies_of_unlike_tokenizers(run, models, tmp_path):
    status, printed, said = run("--against", models / "b", "--reward-model", models / "rm")
    assert status == 0, said
    folder = tmp_path / "judged"
    drawn = samples(folder)
    assert len(drawn) == 2 * 2 * len(PROMPTS)
    assert sorted(one["prompt"] for one in of(drawn, 0.0, "policy")) == sorted(PROMPTS)

    model, tokenizer = load_reward_model(models / "rm")
    zero, one = table(folder)
    assert (zero["temperature"], one["temperature"]) == ("0", "1")
    for row in (zero, one):
        rewards = {}
        for side in ("policy", "against"):
            said = of(drawn, float(row["temperature"]), side)
            texts = [one["completion"] for one in said]
            rows = token_rows(tokenizer, [one["prompt"] for one in said], texts, None)
            rewards[side] = rewards_of(model, *zip(*rows, strict=True), batch_size=1)
            words = row["words_a" if side == "policy" else "words_b"]
            assert float(words) == pytest.approx(mean_words(texts), abs=1e-5)
        margin = rewards["policy"] - rewards["against"]
        assert margin.abs().min() > 1e-4  # far above what a batch's order of sums changes
        assert float(row["win_rate"]) == pytest.approx((margin > 0).double().mean().item(), abs=1e-5)
        assert (row["consistent"], row["bias"], row["decided"]) == ("1", "0", "6")
        assert float(row["win_rate_low"]) <= float(row["win_rate"]) <= float(row["win_rate_high"])
    assert (folder / "win_rates.png").read_bytes()[:4] == b"\x89PNG"
    assert printed.splitlines()[0] == f"{models / 'a'} against {models / 'b'}, in both orders"
    assert f"{100 * float(zero['win_rate']):.1f} (" in printed and "judged.csv" in printed


def test_an_endpoint_judges_against_the_chosen_and_a_recording_says_the_same_without_a_key(
    run, key, tmp_path, monkeypatch
):
    folder = tmp_path / "judged"
    with serving() as server:
        first = run(*endpoint(server, "--max-cost=1", "--input-price=1"))
        assert first[0] == 0, first[2]
        questions = len(server.requests)
        again = run(*endpoint(server))
        assert len(server.requests) == questions  # all answers were there
    assert again[:2] == first[:2]
    drawn = samples(folder)
    assert {one["side"] for one in drawn} == {"policy"}
    pairs = set()
    for row in table(folder):
        points = []
        for one in of(drawn, float(row["temperature"]), "policy"):
            ours, chosen = one["completion"], f" {one['prompt']} again"
            pairs.add((one["prompt"], ours, chosen))
            points.append(1 if len(ours) > len(chosen) else 0.5 if len(ours) == len(chosen) else 0)
        assert float(row["win_rate"]) == pytest.approx(sum(points) / len(points), abs=1e-5)  # it likes length
        assert (row["consistent"], row["refused"]) == ("1", "0")
    assert questions == 2 * len(pairs)  # both orders, each once

    monkeypatch.delenv("JUDGE_KEY")
    recorded = (f"--recorded={folder / 'verdicts.jsonl'}", "--judge-model=m", "--instruction=plain")
    status, _, said = run(*recorded, out="replayed")
    assert status == 0, said
    for name in RESULT:
        assert (tmp_path / "replayed" / name).read_bytes() == (folder / name).read_bytes()
    refused(run(*recorded, "--seed=1", out="other"), "verdicts.jsonl has no verdict of m (plain)")

    told = [first, again, *(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())]
    assert not any(KEY in str(text) for text in told)


def test_of_a_conversation_the_judge_reads_what_was_said(book, models, key, tmp_path):
    path = tmp_path / "chats.jsonl"
    rows = []
    for question in ("is it good", "is it dull"):
        prompt = [{"role": "user", "content": question}]
        answers = [[{"role": "assistant", "content": text}] for text in ("yes it is", "no")]
        rows.append({"prompt": prompt, "chosen": answers[0], "rejected": answers[1]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("judge", "--policy", models / "a", "--data", path, "--out", tmp_path / "judged", *SHORT)
    with serving() as server:
        status, _, said = book(*command, *endpoint(server))
        assert status == 0, said
        prompts, texts = set(), set()
        for request in server.requests:
            prompt, *both = texts_of(request)
            prompts.add(prompt)
            texts.update(both)
    assert prompts == {"is it good", "is it dull"} and "yes it is" in texts
    refused(book(*command, "--reward-model", models / "rm"), "chats.jsonl, line ", "is a conversation", "--endpoint")


# ------------------------------------------------------------------ stopped, and another's folder


def test_stopped_while_drawing_the_same_command_goes_on_and_another_one_is_refused(
    run, models, tmp_path, monkeypatch
):
    options = ("--against", models / "b", "--reward-model", models / "rm")
    assert run(*options, out="whole")[0] == 0
    sample_ids, asked = completions.sample_ids, []

    def stopped(*arguments):
        asked.append(arguments)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return sample_ids(*arguments)

    monkeypatch.setattr(completions, "sample_ids", stopped)
    assert run(*options)[0] == interrupt.STATUS
    folder = tmp_path / "judged"
    assert len(samples(folder)) == 2 * len(PROMPTS) and not (folder / "judged.csv").exists()
    with open(folder / "samples.jsonl", "ab") as file:
        file.write(b'{"temperature": 1.0, "side": "pol')  # as a kill in the middle of a line leaves it
    status, _, said = run(*options)
    assert status == 0, said
    assert len(asked) == 3 + 2  # two of the four parts were there
    for name in ("samples.jsonl", *RESULT):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    before = {path: path.read_bytes() for path in folder.iterdir()}
    refused(run(*options, "--seed=1"), "holds another run", "seed is 0 there, 1 here", "--out")
    refused(run(*options, "--prompts=3"), "data is 6 rows")
    refused(run(*options[2:]), "the chosen completions here")
    with FileLock(folder / ".lock"):
        refused(run(*options), "is being written by another process")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "samples.jsonl").write_text("spoilt\n")
    refused(run(*options), "samples.jsonl, line 1", "another folder")


def test_an_endpoint_that_fails_is_asked_the_rest_by_the_same_command(run, key, tmp_path):
    def behave(handler, number):
        handler.judge() if number <= 5 else handler.fail(401, f"wrong key {KEY}")

    with serving(behave) as server:
        answer = run(*endpoint(server))
        refused(answer, "127.0.0.1")
        assert KEY not in answer[2]
    kept = len((tmp_path / "judged" / "verdicts.jsonl").read_text().splitlines())
    assert kept == 5
    with serving() as server:  # at another address: that is no other judge
        status, _, said = run(*endpoint(server, "--max-calls=100"))
        assert status == 0, said
        lines = (tmp_path / "judged" / "verdicts.jsonl").read_text().splitlines()
        assert len(server.requests) == len(lines) - kept


def test_limits_are_told_by_their_options(run, key):
    with serving(lambda handler, _: handler.say("I cannot decide.")) as server:
        refused(
            run(*endpoint(server, "--max-calls=23")), "6 prompts at 2 temperatures", "24 questions", "--max-calls"
        )
        assert not server.requests
        # Each question is asked twice, as no answer has a verdict: 24 calls do not suffice.
        refused(
            run(*endpoint(server, "--max-calls=24")), "stopped after 24 calls", "raise --max-calls", "command again"
        )
        refused(run(*endpoint(server, "--max-cost=1e-9", "--input-price=1"), out="b"), "raise --max-cost")
        refused(run(*endpoint(server, "--max-calls=100")), "the verdicts at temperature 0: none of the 6 comparisons")


# ------------------------------------------------------------------ slips


def test_slips_are_named_by_option_before_anything_is_written(run, models, key, tmp_path):
    reward = ("--reward-model", models / "rm")
    refused(run(), "exactly one judge is needed of --reward-model, --endpoint, --recorded: none is given")
    refused(run(*reward, "--recorded=v.jsonl"), "--reward-model, --recorded are given")
    refused(run("--endpoint=http://h/v1", "--instruction=plain"), "--endpoint needs --judge-model too")
    refused(run("--recorded=v.jsonl", "--judge-model=m"), "--recorded needs --instruction too")
    refused(run(*reward, "--judge-model=m"), "--judge-model is for a language model")
    refused(run(*reward, "--max-cost=1"), "--max-cost is for --endpoint")
    asked = ("--judge-model=m", "--instruction=plain")
    refused(run("--endpoint=h/v1", *asked), "--endpoint must be such as http://")
    refused(run("--endpoint=http://h/v1", *asked, "--max-cost=1"), "--max-cost needs --input-price or --output-price")
    refused(run("--endpoint=http://h/v1", *asked, "--max-cost=-1"), "--max-cost must be")
    refused(run("--endpoint=http://h/v1", *asked, "--max-calls=0"), "--max-calls must be")
    refused(run("--endpoint=http://h/v1", *asked, "--key-variable=NO_SUCH"), "NO_SUCH holds no key for h")
    refused(run("--endpoint=http://h/v1", "--judge-model=m", "--instruction=rude"), "--instruction", "rude")
    refused(run("--recorded=none.jsonl", *asked), "none.jsonl", "No such file")
    refused(run(*reward, "--prompts=0"), "prompts must be")
    refused(run("--reward-model", models / "b"), str(models / "b"), "is no reward model")
    refused(run(*reward, "--against", tmp_path / "none"), "no policy could be loaded", "none")
    assert not (tmp_path / "judged").exists()


@pytest.mark.parametrize("text", ["", "0,", "warm", "-1", "nan", "0,0.0"])
def test_what_is_no_temperature_is_refused(book, data, text):
    answer = book("judge", "--policy=a", "--data", data, "--out=x", "--reward-model=r", f"--temperatures={text}")
    refused(answer, "--temperatures")


def test_prompts_without_room_are_passed_over_and_counted(book, models, tmp_path):
    path = tmp_path / "long.jsonl"
    rows = [{"prompt": "the dog " * n, "chosen": " good", "rejected": " dull"} for n in (1, 2, 90)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("judge", "--policy", models / "a", "--data", path, "--reward-model", models / "rm")
    status, _, said = book(*command, "--out", tmp_path / "judged", *SHORT)
    assert status == 0 and "passed over 1 prompts that leave no room for --max-new-tokens 5" in said, said
    assert {one["prompt"] for one in samples(tmp_path / "judged")} == {"the dog ", "the dog the dog "}
    answer = book(*command, "--out", tmp_path / "no", "--max-new-tokens=64")
    refused(answer, "no prompt leaves room for --max-new-tokens 64")
    assert not (tmp_path / "no").exists()
