"""A trained reward model as a judge: of two texts, the one with the higher r_φ(x, y) wins."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.data.rows import show
from dpo_book.data.tokens import opening_ids, plain_ids, prompt_ids, seam
from dpo_book.evaluation.judges import Judge, JudgeError
from dpo_book.evaluation.quality_judges import judge_by
from dpo_book.maths.require import require_count
from dpo_book.models.reward_model import rewards_of
from dpo_book.models.traits import context_of

Row = tuple[list[int], list[int]]  # token ids of a prompt and of a text behind it


def reward_model_judge(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 64) -> Judge:
    """A judge by ``sequence_reward``, of texts in tokens as ``tokenize_pairs`` makes them: EOS at their end.

    A text that does not fit the model's context behind its prompt is cut there, and then has no EOS; JudgeError for a
    prompt that leaves no room for a token.
    """
    require_count("batch_size", batch_size)

    def rewards(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
        model.eval()
        rows = token_rows(tokenizer, prompts, texts, context_of(model))
        lengths = torch.tensor([len(start) + len(text) for start, text in rows])
        by_length = lengths.argsort(stable=True)
        starts = [rows[i][0] for i in by_length]
        ends = [rows[i][1] for i in by_length]
        found = torch.empty(len(rows))
        found[by_length] = rewards_of(model, starts, ends, batch_size)
        return found.tolist()

    return judge_by(rewards)


def token_rows(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], texts: Sequence[str], context: int | None
) -> list[Row]:
    """Each prompt and the text behind it, parted where the text begins in their one text; at most ``context`` ids."""
    opening, eos = opening_ids(tokenizer), tokenizer.eos_token_id
    alone = prompt_ids(tokenizer, prompts)
    whole = plain_ids(tokenizer, [prompt + text for prompt, text in zip(prompts, texts, strict=True)])
    rows = []
    for prompt, before, together in zip(prompts, alone, whole, strict=True):
        ids = [*opening, *together]
        end = seam(before, ids)
        start, text = before[:end] or [tokenizer.bos_token_id], ids[end:]
        if eos is not None and text[-1:] != [eos]:
            text = [*text, eos]
        if context is not None and len(start) >= context:
            raise JudgeError(
                f"the prompt {show(prompt)} has {len(start)} tokens, and the reward model's context {context}: no "
                "room is left for a text"
            )
        room = None if context is None else context - len(start)
        rows.append((start, text[:room]))
    return rows
