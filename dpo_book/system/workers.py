"""Long runs side by side: a pool of processes of one thread each, which end with whoever started them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import torch
from transformers.utils import logging


@contextmanager
def workers(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool for a with block. What is not finished when the block is left, as by Ctrl-C, is given up."""
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_start)
    try:
        yield pool
    finally:
        # Runs take minutes, and Python 3.11's pool has no public way to end what is under way.
        started = list(pool._processes.values())  # it knows them no longer once it is shut down
        pool.shutdown(wait=False, cancel_futures=True)
        for process in started:
            process.terminate()


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # its advice to programmers, once a process


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and an orphan would go on for nobody."""
    multiprocessing.parent_process().join()
    os._exit(1)
