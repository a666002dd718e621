"""What TRL's DPOTrainer makes of preferences: its own code, called without a model."""

from types import SimpleNamespace

from datasets import Dataset


def trl_pairs(rows, tokenizer):
    """The ids of prompt, chosen and rejected of each row, a dict as in a data set."""
    from trl import DPOTrainer

    trainer = SimpleNamespace(_tokenizer=tokenizer)
    settings = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start")
    prepared = DPOTrainer._prepare_dataset(trainer, Dataset.from_list(rows), tokenizer, settings, "train")
    return [(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in prepared]
