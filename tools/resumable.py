"""Tables of finished runs that survive a kill: what a table holds is never run again.

A run is told by the values of a few columns, its key. Its rows, one or many, enter the table together when it is
finished; at any moment the file is whole.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from dpo_book.system.files import write_text
from dpo_book.system.workers import workers


@dataclass(frozen=True)
class Table:
    """A CSV of runs, numbers with six digits.

    key: the columns that tell which run a row is of; their values have to read back as they were written. arrange:
    rows as they come → rows in the order that the file has them.
    """

    path: Path
    key: Sequence[str]
    arrange: Callable[[pd.DataFrame], pd.DataFrame]

    def read(self) -> pd.DataFrame:
        """What the file holds: no row where there is none."""
        if not self.path.exists():
            return pd.DataFrame(columns=list(self.key))
        rows = pd.read_csv(self.path)
        if lacking := [name for name in self.key if name not in rows]:
            raise ValueError(f"{self.path} lacks the column {lacking[0]}: it is of an older kind, so move it away")
        return rows

    def missing(self, wanted: Iterable[tuple]) -> list[tuple]:
        """Those of the wanted runs that the file does not hold, each once, in their order."""
        rows = self.read()[list(self.key)]
        finished = set(rows.itertuples(index=False, name=None))
        return [run for run in dict.fromkeys(wanted) if run not in finished]

    def text(self, rows: Iterable[dict]) -> str:
        """The file that holds these rows."""
        arranged = self.arrange(pd.DataFrame(rows))
        return arranged.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def in_order_of(runs: Sequence[tuple], rows: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Rows in the order of their runs, each run's in the order in which they came; what is no such run is left out.

    runs: as tuples of the key's values.
    """
    place_of = {run: place for place, run in enumerate(runs)}
    found = rows[list(key)].itertuples(index=False, name=None)
    rows = rows.assign(place=[place_of.get(run) for run in found])
    rows = rows.dropna(subset="place").sort_values("place", kind="stable")
    return rows.drop(columns="place")


def fill(table: Table, wanted: Iterable[tuple], measure: Callable[..., list[dict]], processes: int) -> None:
    """Run what the table does not hold yet, and write it anew after every run. A finished table is left alone.

    wanted: runs as tuples of their key's values. measure: ``measure(*run)`` gives the rows of a run, with its key in
    each; a function that other processes can import. processes: how many runs at once, each on one thread. What a
    run raises is raised when all others are in the table.
    """
    missing = table.missing(wanted)
    if not missing:
        return
    table.path.parent.mkdir(parents=True, exist_ok=True)
    rows, errors = table.read().to_dict("records"), []
    with workers(min(processes, len(missing))) as pool:
        runs = [pool.submit(measure, *run) for run in missing]
        for run in tqdm(as_completed(runs), total=len(runs), unit="run", desc=table.path.stem):
            if error := run.exception():
                errors.append(error)
                continue
            rows += run.result()
            write_text(table.path, table.text(rows))
    if errors:
        raise errors[0]
