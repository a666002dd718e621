"""A run's report.html: all that its folder says of it, on one page that needs no network."""

import warnings
from pathlib import Path

from dpo_book import plots
from dpo_book.cli import run_figures
from dpo_book.cli.report_page import Picture, page
from dpo_book.cli.stored_run import StoredRun, read_run
from dpo_book.evaluation.patterns.named import Watched, watch
from dpo_book.evaluation.patterns.run_log import RunLog
from dpo_book.system.files import write_text


def report_file(folder: Path) -> Path:
    return folder / "report.html"


def write_report(folder: Path) -> Path:
    """The page, whole or not at all; where it is. StoredRunError for a folder without a run, or a damaged one."""
    run = read_run(folder)
    write_text(report_file(folder), page(run, watched(run), _pictures(run)))
    return report_file(folder)


def try_to_write(folder: Path) -> None:
    """The same for a run that has just ended: what cannot be read or written is a warning, and costs no model."""
    try:
        write_report(folder)
    except Exception as error:
        said = f"{report_file(folder)} could not be made ({_said(error)}); the trained model is saved"
        warnings.warn(said, stacklevel=3)


def watched(run: StoredRun) -> Watched:
    """The patterns of a run, as its folder shows them."""
    about = run.about
    log = RunLog(
        method=about["method"],
        records=run.records,
        batch_size=about["batch_size"],
        loss=about.get("loss", "dpo") if about["method"] == "dpo" else None,
        beta=about.get("beta"),
        reference_free=about.get("reference_free", False),
        data=run.data,
        evaluations=run.evaluations,
    )
    return watch(log)


def _pictures(run: StoredRun) -> list[Picture]:
    """The run's figures from its folder; those that are not there, as of a run that goes on, are drawn.

    One that cannot be read or drawn is a warning: the page goes without it.
    """
    drawn = run_figures.all_figures(run.records, run.evaluations, run.best.get("step", 0))
    pictures = []
    for name, draw in drawn.items():
        file = run.folder / name
        try:
            content = file.read_bytes() if run.finished and file.is_file() else plots.png(draw())
        except Exception as error:
            warnings.warn(f"{report_file(run.folder)} goes without {name} ({_said(error)})", stacklevel=4)
            continue
        pictures.append(Picture(content, run_figures.ALT[name]))
    return pictures


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
