"""A language model behind any OpenAI-compatible endpoint as a judge, whose every answer is kept as it comes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dpo_book.evaluation.chat import Chat
from dpo_book.evaluation.endpoint import Endpoint
from dpo_book.evaluation.instructions import Instruction, message, read_answer
from dpo_book.evaluation.judges import Answer, Shown
from dpo_book.evaluation.retries import Retries, Stopped
from dpo_book.evaluation.spending import Limits, Spending, Unanswered
from dpo_book.evaluation.verdicts_file import VerdictsFile, key_of, open_verdicts, record_of
from dpo_book.maths.require import require_count

NO_LIMITS_BUT_CALLS = Limits()
PATIENT = Retries()


@contextmanager
def _pool(workers: int, stopping: threading.Event) -> Iterator[ThreadPoolExecutor]:
    """Threads for a with block. Left by an error, as by Ctrl-C, it begins nothing more, and waits for what runs."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    except BaseException:
        stopping.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, kw_only=True)
class EndpointJudge:
    """A judge that asks the endpoint's model by an instruction, and takes what ``path`` already holds from there.

    A run that was stopped, or killed, goes on when it is asked the same again: no answer is paid for twice. Several
    ``workers`` ask at once; their number does not change what is asked, nor the order of the answers. An answer
    without one clear verdict is "unparsable" and asked for again, ``times`` in all; a refusal is "refused". The same
    question in a list twice is asked once. progress: told how many of how many open questions are answered.

    The model's name stands for all of the endpoint in the file: another server, temperature or length of answers
    wants a file of its own. JudgeError, in one line, when it cannot go on; LimitReached, one of them, at the limits.
    """

    endpoint: Endpoint
    instruction: Instruction
    path: Path
    limits: Limits = NO_LIMITS_BUT_CALLS
    retries: Retries = PATIENT
    times: int = 2
    workers: int = 4
    progress: Callable[[int, int], object] | None = None
    _unanswered: Unanswered = field(default_factory=Unanswered, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count("times", self.times)
        require_count("workers", self.workers, most=64)

    def __call__(self, shown: Sequence[Shown]) -> list[Answer]:
        keys = [key_of(self.endpoint.model, self.instruction, one) for one in shown]
        questions = dict(zip(keys, shown, strict=True))
        with open_verdicts(self.path) as verdicts:
            open_ones = [one for key, one in questions.items() if self._is_open(key, verdicts)]
            if open_ones:
                self._ask_all(open_ones, verdicts)
            return [verdicts.answer(key) for key in keys]

    def _is_open(self, key: str, verdicts: VerdictsFile) -> bool:
        answer = verdicts.answer(key)
        undecided = answer is None or answer.place == "unparsable"
        return undecided and verdicts.times_asked(key) < self.times

    def _ask_all(self, questions: Sequence[Shown], verdicts: VerdictsFile) -> None:
        """Every question until it has its answer. At the first error nothing new is begun; what runs is kept."""
        stopping = threading.Event()
        calls, cost = self._paid(verdicts)
        spending = Spending(self.limits, calls + self._unanswered.calls, cost + self._unanswered.cost)
        chat = Chat(self.endpoint, self.retries, spending, stopping)

        def ask(shown: Shown) -> None:
            try:
                self._ask(shown, chat, verdicts, stopping)
            except Stopped:
                pass  # whoever failed tells why
            except BaseException:
                stopping.set()
                raise

        try:
            with closing(chat), _pool(self.workers, stopping) as pool:
                all_asked = [pool.submit(ask, one) for one in questions]
                for answered, asked in enumerate(as_completed(all_asked), start=1):
                    asked.result()
                    if self.progress is not None:
                        self.progress(answered, len(questions))
        finally:
            self._unanswered.add(spending, *self._paid(verdicts))

    def _paid(self, verdicts: VerdictsFile) -> tuple[int, float]:
        """How many answers of the model the file holds, and what they cost."""
        paid = verdicts.of_model(self.endpoint.model)
        return len(paid), sum(self.limits.price(record.input_tokens, record.output_tokens) for record in paid)

    def _ask(self, shown: Shown, chat: Chat, verdicts: VerdictsFile, stopping: threading.Event) -> None:
        """Whoever asks writes the answer down before asking anything else: a kill loses what is under way alone."""
        key = key_of(self.endpoint.model, self.instruction, shown)
        while self._is_open(key, verdicts) and not stopping.is_set():
            reply = chat.ask(message(self.instruction, shown))
            answer = Answer("refused", reply.refusal) if reply.refusal else read_answer(reply.text)
            tokens = (reply.input_tokens, reply.output_tokens)
            verdicts.add(record_of(self.endpoint.model, self.instruction, shown, answer, *tokens))
