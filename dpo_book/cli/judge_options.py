"""The options that say who judges: a reward model, a language model behind an endpoint, or verdicts once given."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dpo_book.cli.options import NameOrNone, UserPathOrNone, refuse_given
from dpo_book.maths.require import SettingError, require_count, require_extra, require_temperature

if TYPE_CHECKING:
    from dpo_book.evaluation.endpoint_judge import EndpointJudge
    from dpo_book.evaluation.judges import Judge

JUDGES = ("reward_model", "endpoint", "recorded")  # of which exactly one is asked
MAX_CALLS = 2000


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """Who judges: one of --reward-model, --endpoint and --recorded."""

    reward_model: NameOrNone = None
    """a reward model, OUT/model of the command reward: the completion of higher reward wins"""
    endpoint: NameOrNone = None
    """a chat endpoint in OpenAI's form, such as http://localhost:8000/v1 (needs the package's extra openai)"""
    recorded: UserPathOrNone = None
    """verdicts once given, such as OUT/verdicts.jsonl: the same questions are answered from there"""
    judge_model: NameOrNone = None
    """the language model that judges, or that gave the recorded verdicts"""
    instruction: Literal["plain", "concise", "dialogue"] | None = None
    """what it is asked: plain or concise for summaries, dialogue for answers to a person"""
    key_variable: NameOrNone = None
    """environment variable that holds the key, by default OPENAI_API_KEY; any text in it where none is wanted"""
    max_calls: int | None = None
    """most questions to the endpoint, counting all that the folder holds; by default 2000"""
    max_cost: float | None = None
    """most that the endpoint may cost, in the currency of the prices"""
    input_price: float | None = None
    """of a million tokens that it reads"""
    output_price: float | None = None
    """of a million tokens that it writes"""

    def __post_init__(self) -> None:
        given = [name for name in JUDGES if getattr(self, name) is not None]
        if len(given) != 1:
            found = "none is given" if not given else f"{_options(given)} are given"
            raise SettingError(f"exactly one judge is needed of {_options(JUDGES)}: {found}")
        if self.reward_model is not None:
            refuse_given(
                "is for a language model that judges, not for --reward-model",
                judge_model=self.judge_model,
                instruction=self.instruction,
            )
        else:
            self._need(given[0])
        if self.endpoint is None:
            refuse_given(
                "is for --endpoint, where questions are paid for",
                key_variable=self.key_variable,
                max_calls=self.max_calls,
                max_cost=self.max_cost,
                input_price=self.input_price,
                output_price=self.output_price,
            )
        if self.max_calls is not None:
            require_count("max_calls", self.max_calls)

    def _need(self, judge: str) -> None:
        for name in ("judge_model", "instruction"):
            if getattr(self, name) is None:
                raise SettingError(f"{_options([judge])} needs {_options([name])} too")

    def reader(self, out: Path) -> "Judge | None":
        """The judge, but for a reward model, which has to be loaded: then None. Nothing is asked or written yet.

        out: the folder in which an endpoint's verdicts are kept. SettingError or JudgeError for what would stop it.
        """
        if self.endpoint is not None:
            return self._endpoint_judge(out / "verdicts.jsonl")
        if self.recorded is not None:
            from dpo_book.evaluation.verdicts_file import recorded_judge

            return recorded_judge(self.recorded, self.judge_model, self._instruction())
        return None

    def check_calls(self, prompts: int, temperatures: int) -> None:
        """SettingError where the endpoint would be asked more than it may be; each comparison is two questions."""
        if self.endpoint is None:
            return
        wanted, most = 2 * prompts * temperatures, self.max_calls or MAX_CALLS
        if wanted > most:
            raise SettingError(
                f"{prompts:,} prompts at {temperatures} temperatures, in both orders, are {wanted:,} questions, and "
                f"--max-calls is {most:,}: allow more, or take fewer --prompts or --temperatures"
            )

    def about(self) -> str:
        """Who judges, for a run's identity; of a reward model its digest says more. No address, no key, no limit."""
        who = f"{self.judge_model}, {self.instruction}"
        if self.recorded is None:
            return who
        return f"{who}, recorded in a file of SHA-256 {hashlib.sha256(self.recorded.read_bytes()).hexdigest()[:16]}"

    def _endpoint_judge(self, path: Path) -> "EndpointJudge":
        require_extra("openai", "openai", "--endpoint")
        from dpo_book.evaluation.endpoint import Endpoint
        from dpo_book.evaluation.endpoint_judge import EndpointJudge
        from dpo_book.evaluation.spending import Limits

        named = {} if self.key_variable is None else {"key_variable": self.key_variable}
        endpoint = Endpoint(model=self.judge_model, base_url=self.endpoint, **named)
        limits = Limits(
            calls=self.max_calls or MAX_CALLS,
            cost=self.max_cost,
            input_price=self.input_price or 0.0,
            output_price=self.output_price or 0.0,
        )
        endpoint.key()  # hours of drawing are not to end with a key that is not there
        return EndpointJudge(endpoint=endpoint, instruction=self._instruction(), path=path, limits=limits)

    def _instruction(self):
        from dpo_book.evaluation.instructions import CONCISE, DIALOGUE, PLAIN

        named = {instruction.name: instruction for instruction in (PLAIN, CONCISE, DIALOGUE)}
        return named[self.instruction]


def read_temperatures(text: str) -> list[float]:
    """Those in a text such as "0,0.5,1", in order. SettingError for what is no temperature, or stands there twice."""
    temperatures = []
    for part in text.split(","):
        try:
            temperature = float(part)
            require_temperature(temperature)
        except ValueError:
            raise SettingError(
                f"--temperatures must be numbers of at least 0, such as 0,0.5,1; got {part.strip()!r} in {text!r}"
            ) from None
        if temperature in temperatures:
            raise SettingError(f"--temperatures names {temperature:g} twice")
        temperatures.append(temperature)
    return sorted(temperatures)


def _options(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
