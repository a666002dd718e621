"""Ctrl-C: one line and exit status 130, at any moment. Imported first of all, so it stands alone."""

import os
import signal
from functools import partial
from types import FrameType

STATUS = 130  # as a shell has it, 128 + SIGINT
SAYS = "dpo_book: stopped; what was finished is kept, and the same command goes on from there"


def listen(says: str = SAYS) -> None:
    """From now on Ctrl-C raises KeyboardInterrupt or, while something is being imported, says so and ends at once."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a job in the background is not meant
        signal.signal(signal.SIGINT, partial(_stop, says))


def _stop(says: str, _signal: int, frame: FrameType | None) -> None:
    """A library that is being imported may swallow a KeyboardInterrupt, or print a traceback of its own.

    To end there is to be killed, and runs survive that.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, f"{says}\n".encode())
            os._exit(STATUS)
        frame = frame.f_back
    raise KeyboardInterrupt
