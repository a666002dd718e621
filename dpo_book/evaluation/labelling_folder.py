"""A folder in which pairs are labelled, at a terminal or in a notebook.

session.json       what is compared: the rows, and the seed of what is shown when
labels.jsonl       the answers, as they are given
preferences.jsonl  what they come to, for training

Light: nothing here imports torch.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dpo_book.data.columns import Messages
from dpo_book.data.messages import text_of
from dpo_book.evaluation.judges import Answer, Comparison, Judge, Shown
from dpo_book.evaluation.labelling import LabellingSession
from dpo_book.evaluation.labels_file import LabelsError
from dpo_book.maths.require import SettingError
from dpo_book.system.files import FileError, read_object, scratch_of, write_text

SESSION, LABELS, PREFERENCES = "session.json", "labels.jsonl", "preferences.jsonl"
THE_LABELS = "the data's own labels"
ELSEWHERE = "choose another folder"


class Row(NamedTuple):
    """Two texts to compare, or two conversations. a_probability: with which a is better by the data's own label."""

    prompt: str | Messages
    a: str | Messages
    b: str | Messages
    a_probability: float | None = None


class FolderSession(NamedTuple):
    """A session, and whom its report compares with: the data's own labels, where it has some."""

    session: LabellingSession
    others: dict[str, Judge]


def session_of(folder: Path, rows: Sequence[Row], seed: int) -> FolderSession:
    """The session of these rows in this folder, new or as it was left. Nothing is written before ``keep_session``.

    LabelsError for a folder that holds something else.
    """
    _check_holds(folder, rows, seed)
    comparisons = [Comparison(*row[:3]) for row in rows]
    session = LabellingSession(comparisons, folder / LABELS, seed=seed)
    labelled = [row for row in rows if row.a_probability is not None]
    return FolderSession(session, {THE_LABELS: label_judge(labelled)} if labelled else {})


def keep_session(folder: Path, rows: Sequence[Row], seed: int) -> None:
    """Write what the session is, for ``open_session``. LabelsError where the folder holds something else."""
    _check_holds(folder, rows, seed)
    if not (folder / SESSION).exists():
        write_text(folder / SESSION, f"{json.dumps(_content(rows, seed), indent=1)}\n")


def open_session(folder: Path | str) -> FolderSession:
    """The session that a folder holds. LabelsError where there is none, or its files are damaged."""
    path = Path(folder) / SESSION
    try:
        content = read_object(path)
        rows = [Row(**row) for row in content["comparisons"]]
        return session_of(Path(folder), rows, content["seed"])
    except (FileError, SettingError, TypeError, KeyError) as error:
        raise LabelsError(f"{path} is not as a session wrote it ({error}): put it back, or {ELSEWHERE}") from None


def label_judge(rows: Sequence[Row]) -> Judge:
    """The data's own labels as a judge: the likelier text is better, and with 1/2 both are as good."""
    of_first = {}
    for row in rows:
        prompt, a, b = map(text_of, row[:3])
        of_first[prompt, a, b] = row.a_probability
        of_first[prompt, b, a] = 1 - row.a_probability

    def judge(shown: Sequence[Shown]) -> list[Answer]:
        return [_likelier(of_first.get(tuple(one))) for one in shown]

    return judge


def _likelier(first: float | None) -> Answer:
    if first is None:
        return Answer("refused", "the data has no label")
    if first == 0.5:
        return Answer("tie")
    return Answer("first" if first > 0.5 else "second")


def _content(rows: Sequence[Row], seed: int) -> dict:
    return {"seed": seed, "comparisons": [row._asdict() for row in rows]}


def _check_holds(folder: Path, rows: Sequence[Row], seed: int) -> None:
    """LabelsError unless the folder holds this session, or nothing yet."""
    if folder.exists() and not folder.is_dir():
        raise LabelsError(f"{folder} is a file; a session needs a folder")
    path = folder / SESSION
    if not path.exists():
        passing = {f"{LABELS}.lock", scratch_of(path).name}  # of a start that was killed
        if folder.exists() and {found.name for found in folder.iterdir()} - passing:
            raise LabelsError(f"{folder} is not empty and holds no session: {ELSEWHERE}")
        return
    try:
        there = read_object(path)
    except FileError as error:
        raise LabelsError(f"{path} is damaged ({error}): put it back, or {ELSEWHERE}") from None
    if there.get("seed") != seed:
        raise LabelsError(
            f"{folder} holds another session: its seed is {there.get('seed')}, here {seed}: {ELSEWHERE}"
        )
    if there != json.loads(json.dumps(_content(rows, seed))):
        raise LabelsError(f"{folder} holds another session, of other pairs: {ELSEWHERE}")
