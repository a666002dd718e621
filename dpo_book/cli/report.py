"""The command report: a run's page, made anew from its folder."""

import tyro

from dpo_book.cli.boundary import writing
from dpo_book.cli.options import UserPath


def report(folder: tyro.conf.Positional[UserPath]) -> None:
    """Write OUT/report.html anew from what a training run left in its folder, finished or not.

    Every run leaves the page at its end: settings, data, figures, samples, held-out measures, and what to watch.

    Args:
        folder: a training's --out.
    """
    from dpo_book.cli.stored_run import read_run

    read_run(folder)  # before torch is imported, for it may refuse

    from dpo_book.cli.run_report import write_report

    with writing(folder):
        print(f"the report is in {write_report(folder)}")
