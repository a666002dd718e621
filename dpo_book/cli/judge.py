"""The command ``judge``: is one policy's answer better than another's, or than the data's own?

run.json        what is compared by whom: settings, and digests of models and prompts
samples.jsonl   the completions, as they are drawn
verdicts.jsonl  an endpoint's verdicts, as they are given
judged.csv      the result, a row a temperature
win_rates.png   its figure
"""

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpo_book.cli.boundary import Refused, entering, writing
from dpo_book.cli.judge_options import JudgeOptions, read_temperatures
from dpo_book.cli.options import Name, NameOrNone, SourceOptions, UserPath
from dpo_book.maths.require import SettingError, require_count, require_seed

if TYPE_CHECKING:
    from dpo_book.data.preferences import Preference


@dataclass(frozen=True)
class Settings:
    """What decides the result, besides models, data and judge."""

    temperatures: list[float]
    max_new_tokens: int
    seed: int


def judge(
    data: SourceOptions,
    judge: JudgeOptions,
    policy: Name,
    out: UserPath,
    against: NameOrNone = None,
    prompts: int = 256,
    temperatures: str = "0,0.5,1",
    max_new_tokens: int = 128,
    seed: int = 0,
) -> None:
    """Let a judge compare a policy's completions with another's, or with the data's chosen ones, in both orders.

    The win rate by temperature enters OUT/judged.csv. Stop it at any time; the same command goes on where it stopped.

    Args:
        policy: hub id, folder or .gguf file.
        out: folder of completions, verdicts and result.
        against: another policy, of any tokenizer; by default the data's chosen completions.
        prompts: how many of the data's distinct prompts are drawn, all if there are fewer.
        temperatures: of both policies, with commas between; 0 takes the likeliest token.
        max_new_tokens: where completions are cut.
        seed: of the prompts and of the completions.
    """
    require_count("prompts", prompts)
    require_count("max_new_tokens", max_new_tokens)
    require_seed("seed", seed)
    settings = Settings(read_temperatures(temperatures), max_new_tokens, seed)
    reader = judge.reader(out)
    shuffled = _shuffled(data, seed)
    if judge.reward_model is not None:
        _check_are_texts(data.data, shuffled)
    judge.check_calls(min(prompts, len(shuffled)), len(settings.temperatures))

    from dpo_book.cli.judge_report import as_text, keep
    from dpo_book.cli.judge_run import Contest, load_models
    from dpo_book.cli.run_folder import begun_on, lock_folder

    models = load_models(policy, against, judge.reward_model)
    contest = Contest(models, settings, shuffled, prompts, begun_on(out))
    with writing(out), lock_folder(out, contest.identity(judge)):
        with entering("completing prompts with", policy if against is None else f"{policy} or {against}", ValueError):
            contest.draw(out / "samples.jsonl")
        results = contest.judged(reader or models.reward_judge())
        keep(results, out)
    print(f"{policy} against {against or 'the chosen completions'}, in both orders")
    print(as_text(results))
    print(f"the same in {out / 'judged.csv'}; figure in {out / 'win_rates.png'}")


def _shuffled(data: SourceOptions, seed: int) -> "list[Preference]":
    """One preference of each distinct prompt, the first, in an order by lot."""
    if data.data == "imdb":
        raise SettingError("--data imdb holds reviews and no prompts with answers: judge takes any other data")
    from dpo_book.cli.data import read_preferences

    with entering("the data", data.source or data.data):
        preferences = read_preferences(data)
    first_of = {}
    for preference in preferences:
        said = (preference.prompt, preference.tools, preference.chat_template_kwargs)
        first_of.setdefault(json.dumps(said, default=str), preference)
    distinct = list(first_of.values())
    random.Random(seed).shuffle(distinct)
    return distinct


def _check_are_texts(data: str, preferences: "list[Preference]") -> None:
    for preference in preferences:
        if not isinstance(preference.prompt, str):
            raise Refused(
                f"--reward-model judges texts, and {preference.where or data} is a conversation: ask a language "
                "model by --endpoint"
            )
