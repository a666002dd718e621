"""What ``judge`` leaves and prints: a table by temperature, and its figure."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from dpo_book import plots
from dpo_book.evaluation.head_to_head import HeadToHead, head_to_head_table
from dpo_book.maths.estimates import Interval
from dpo_book.system.files import replace_whole, write_text

Results = Mapping[float, HeadToHead]


def keep(results: Results, folder: Path) -> None:
    """judged.csv and win_rates.png, each whole or not at all."""
    table = head_to_head_table(results)
    write_text(folder / "judged.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    rates = {temperature: result.win_rate for temperature, result in results.items()}
    figure = plots.win_rates_by_temperature({"policy": rates})
    replace_whole(folder / "win_rates.png", partial(Path.write_bytes, data=plots.png(figure)))


def as_text(results: Results) -> str:
    """The table as it is printed: shares in per cent, with 95 % intervals; what the columns are stands below."""
    rows = [_row(temperature, result) for temperature, result in results.items()]
    table = pd.DataFrame(rows).to_string(index=False)
    return (
        f"{table}\n"
        "win rate: of the policy, with its 95 % interval. same: of the prompts, decided alike in both orders.\n"
        "place: verdicts for what is shown first, less 50. ties, unparsable, refused: of two verdicts a prompt.\n"
        "words: mean length, the policy's and the other side's, for a judge may like length"
    )


def _row(temperature: float, result: HeadToHead) -> dict[str, str]:
    return {
        "temperature": f"{temperature:g}",
        "prompts": f"{result.comparisons}",
        "decided": f"{result.decided}",
        "win rate, %": _per_cent(result.win_rate),
        "same, %": _per_cent(result.consistent),
        "place, %": _per_cent(result.bias, "+.1f"),
        "ties": f"{result.ties}",
        "unparsable": f"{result.unparsable}",
        "refused": f"{result.refused}",
        "words": f"{result.words_a:.1f} : {result.words_b:.1f}",
    }


def _per_cent(share: Interval, form: str = ".1f") -> str:
    value, low, high = (format(100 * end, form) for end in share)
    return f"{value} ({low} to {high})"
