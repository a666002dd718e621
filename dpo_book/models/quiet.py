"""transformers' own bars and tables stay off the screen: a command has one bar, and a fault is told in one line.

What the hub shows while it downloads stays, for that may take minutes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transformers import modeling_gguf_pytorch_utils as gguf
from transformers.utils import logging


@contextmanager
def quiet() -> Iterator[None]:
    """Within it transformers reads and writes weights without a bar, and without its table of what does not fit.

    Whoever reads weights looks at what was missing or left over himself.
    """
    verbosity, hook, bar_of_gguf = logging.get_verbosity(), logging.set_tqdm_hook(_no_bar), gguf.tqdm
    logging.set_verbosity_error()
    gguf.tqdm = logging.EmptyTqdm  # a bar that asks no hook
    try:
        yield
    finally:
        gguf.tqdm = bar_of_gguf
        logging.set_tqdm_hook(hook)
        logging.set_verbosity(verbosity)


def _no_bar(_: Callable, args: tuple, settings: dict) -> logging.EmptyTqdm:
    return logging.EmptyTqdm(*args, **settings)
