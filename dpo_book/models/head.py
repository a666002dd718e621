"""From hidden states to log-probabilities of tokens, without the table of a whole vocabulary.

Over GPT-2's 50,257 tokens the logits and their gradient are by far the largest tensors of training. Here they are
made for a few tokens at a time, used, and forgotten; the backward pass makes most of them once more.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from dpo_book.system.devices import forked_rng

LOGITS_AT_ONCE = 2**24  # at most: 64 MiB in float32, 333 tokens of GPT-2's vocabulary
IN_A_CACHE = 2**22  # so many a CPU works on after their product without fetching them again ...
FEWEST_TOKENS = 256  # ... but with fewer tokens than this, fetching W for the product takes longer than the product
TIMES_ON_A_GPU = 4  # times LOGITS_AT_ONCE, for the gradient of W is read and written once for every part
LOGITS_KEPT = 3 * 2**24  # 192 MiB: of so many, the last ones, what the backward pass needs is not made once more


def head_logp(model: PreTrainedModel, hidden: Tensor, targets: Tensor) -> Tensor:
    """log softmax(W h)[target]: hidden (N, D), targets (N,); returns (N,), float32 or wider, with gradient.

    W (V, D) is the model's output matrix. Only for a model that ``has_linear_head``.
    """
    weight, device = model.get_output_embeddings().weight, hidden.device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return _HeadLogp.apply(hidden.to(weight.dtype), weight, targets)
    with torch.autocast(device, enabled=False):
        return _HeadLogp.apply(hidden.to(torch.get_autocast_dtype(device)), weight, targets)


class _HeadLogp(torch.autograd.Function):
    """z = W h and log p_y = z_y − log Σ exp z, so ∂ log p_y / ∂z = onehot(y) − p; some tokens at a time.

    hidden (N, D) in the precision of the products, W (V, D) as the model has it. The backward pass needs p, that is
    exp(z − max z) over its sum. The exponentials of the last tokens are kept, and those of the others made once more.

    Since torch 2.13 ``torch.nn.functional.linear_cross_entropy`` computes the same from h, W and y. It is not used:
    under bfloat16 its losses come back in bfloat16, too coarse for the sum over a completion, and torch 2.7, which
    this book still supports, lacks it.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        ctx.vocabulary, ctx.weight_dtype = len(weight), weight.dtype
        matrix = _for_products(weight, hidden.dtype)
        ctx.tokens = _tokens_at_once(len(matrix), hidden.is_cuda)
        first_kept = len(hidden) - max(ctx.tokens, LOGITS_KEPT // len(matrix))
        highest, sums, logps = [], [], []
        ctx.kept: dict[int, Tensor] = {}  # start of a part → its exponentials
        for start in range(0, len(hidden), ctx.tokens):
            part = slice(start, start + ctx.tokens)
            logits = _logits(hidden[part], matrix, ctx.vocabulary)
            of_target = logits.gather(-1, targets[part, None]).squeeze(-1)
            highest.append(logits.amax(dim=-1))
            exponentials = _exponentials(logits, highest[-1])
            sums.append(exponentials.sum(dim=-1))
            logps.append(of_target - highest[-1] - sums[-1].log())
            if start >= first_kept:
                ctx.kept[start] = exponentials
            del logits, exponentials  # one tensor; before the next is made
        ctx.save_for_backward(hidden, matrix, targets, torch.cat(highest), torch.cat(sums))
        return torch.cat(logps)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        hidden, matrix, targets, highest, sums = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        wide = torch.promote_types(matrix.dtype, torch.float32)  # a sum of many parts, however narrow each is
        grad_matrix = torch.zeros_like(matrix, dtype=wide) if ctx.needs_input_grad[1] else None
        for start in reversed(range(0, len(hidden), ctx.tokens)):
            part = slice(start, start + ctx.tokens)
            exponentials = ctx.kept.pop(start, None)
            if exponentials is None:
                exponentials = _exponentials(_logits(hidden[part], matrix, ctx.vocabulary), highest[part])
            grad_logits = exponentials.mul_((-grad[part] / sums[part])[:, None])
            grad_logits.scatter_add_(-1, targets[part, None], grad[part, None])
            grad_logits = grad_logits.to(matrix.dtype)
            grad_hidden[part] = grad_logits @ matrix
            if grad_matrix is not None and wide == matrix.dtype:
                grad_matrix.addmm_(grad_logits.T, hidden[part])
            elif grad_matrix is not None:
                grad_matrix += grad_logits.T @ hidden[part]
            del exponentials, grad_logits  # one tensor, in float32; before the next is made
        grad_weight = None if grad_matrix is None else grad_matrix[: ctx.vocabulary].to(ctx.weight_dtype)
        return grad_hidden, grad_weight, None


def _tokens_at_once(rows: int, on_a_gpu: bool) -> int:
    """Of how many tokens the logits are made at a time, for a matrix of so many rows."""
    if on_a_gpu:
        return max(1, TIMES_ON_A_GPU * LOGITS_AT_ONCE // rows)
    return max(1, min(LOGITS_AT_ONCE // rows, max(FEWEST_TOKENS, IN_A_CACHE // rows)))


def _exponentials(logits: Tensor, highest: Tensor) -> Tensor:
    """exp(z − max z), each in [0, 1], in the place of the logits (N, V)."""
    return logits.sub_(highest[:, None]).exp_()


def _for_products(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """W (V, D) in ``dtype``, and for a GPU's tensor cores with rows of zeros below, up to a multiple of 64.

    Of other sizes, and GPT-2's 50,257 is odd, they are used in an old and slow way only: 93 against 668 · 10¹²
    operations a second on an H100 (notebooks/results/bench-gpu.csv). See ``_logits``.
    """
    missing = -len(weight) % 64 if weight.is_cuda and dtype.itemsize == 2 else 0
    if not missing:
        return weight.to(dtype)
    rows, columns = weight.shape
    matrix = weight.new_zeros(rows + missing, columns, dtype=dtype)
    matrix[:rows] = weight
    return matrix


def _logits(hidden: Tensor, matrix: Tensor, vocabulary: int) -> Tensor:
    """Logits (N, rows of the matrix), −∞ where a row is no token: its probability is 0, and so is its gradient."""
    logits = hidden @ matrix.T
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    logits[:, vocabulary:] = -math.inf
    return logits


@torch.no_grad()
def has_linear_head(model: PreTrainedModel) -> bool:
    """Whether the model's logits are W h and nothing more: no bias, no scale, no soft cap.

    Found out by running one token, with a hidden state so long that a soft cap would show as well as a scale. A model
    with dropout draws no number of the caller's for it.
    """
    head, body = model.get_output_embeddings(), model.base_model
    if not isinstance(head, torch.nn.Linear) or head.bias is not None or body is model:
        return False
    seen: list[Tensor] = []

    def replace(_module, _inputs, output) -> None:
        if hasattr(output, "last_hidden_state"):
            hidden = output.last_hidden_state  # (1, 1, D)
            seen.append(hidden.copy_(torch.linspace(-100, 100, hidden.shape[-1])))

    hook = body.register_forward_hook(replace)
    token = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    try:
        with forked_rng():
            logits = model(input_ids=token, attention_mask=torch.ones_like(token), use_cache=False).logits
    finally:
        hook.remove()
    return len(seen) == 1 and torch.allclose(logits, head(seen[0]).to(logits.dtype))
