"""The command ``label``: you as a judge of pairs of texts, at the terminal or in a notebook.

session.json       the pairs
labels.jsonl       the answers, as they are given
preferences.jsonl  what they come to, for ``dpo``
label.ipynb        with --notebook: the same session under buttons and keys
"""

from dpo_book.cli.boundary import entering, writing
from dpo_book.cli.options import SourceOptions, UserPath
from dpo_book.maths.require import SettingError, require_count, require_seed


def label(
    data: SourceOptions,
    out: UserPath,
    pairs: int = 60,
    seed: int = 0,
    notebook: bool = False,
) -> None:
    """Label pairs of texts yourself: which is better? They come in an order by lot, and one in six comes twice.

    Of preferences, chosen and rejected are the two texts; which is which, you are not told, and the report says how
    far you agree. A file may have the columns prompt, a and b instead. Answers enter OUT/labels.jsonl at once. Stop
    at any time; the same command goes on where it stopped. OUT/preferences.jsonl is for dpo --data.

    Args:
        out: folder of the answers.
        pairs: how many of the data's distinct pairs are drawn, all if there are fewer.
        seed: of the draw, and of what is shown when.
        notebook: write OUT/label.ipynb and open it in JupyterLab, instead of asking here.
    """
    require_count("pairs", pairs)
    require_seed("seed", seed)
    if data.data == "imdb":
        raise SettingError("--data imdb holds reviews and no pairs: label takes any other data")
    from dpo_book.cli.label_data import read_pairs
    from dpo_book.cli.label_notebook import open_notebook, write_notebook
    from dpo_book.cli.label_terminal import ask, end
    from dpo_book.evaluation.labelling_folder import PREFERENCES, keep_session, session_of

    with entering("the data", data.source or data.data):
        rows = read_pairs(data, pairs, seed)
    session, others = session_of(out, rows, seed)
    with writing(out), session.alone():
        keep_session(out, rows, seed)
        if notebook:
            write_notebook(out, session.total)
        else:
            ask(session)
            end(session, others, out / PREFERENCES)
    if notebook:
        open_notebook(out)
