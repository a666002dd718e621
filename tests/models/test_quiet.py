"""Others' bars and tables are off while weights are read or written, and afterwards as they were."""

import pytest
from transformers import modeling_gguf_pytorch_utils as gguf
from transformers.utils import logging

from dpo_book.models.quiet import quiet


def test_bars_and_tables_are_off_within_and_as_before_afterwards():
    seen = []

    def theirs(factory, args, settings):
        seen.append(args)
        return logging.EmptyTqdm(*args, **settings)

    hook, verbosity, bar = logging.set_tqdm_hook(theirs), logging.get_verbosity(), gguf.tqdm
    try:
        with pytest.raises(KeyError), quiet():
            for showing in (logging.tqdm, gguf.tqdm):
                assert isinstance(showing([1, 2], desc="weights"), logging.EmptyTqdm)
                assert list(showing([1, 2])) == [1, 2]
            assert seen == [] and logging.get_verbosity() == logging.ERROR
            raise KeyError
        assert (logging.get_verbosity(), gguf.tqdm) == (verbosity, bar)
        logging.tqdm([1, 2])
        assert seen == [([1, 2],)]
    finally:
        logging.set_tqdm_hook(hook)
