"""From hidden states to log-probabilities of tokens, without the table of a whole vocabulary.

Over GPT-2's 50,257 tokens the logits and their gradient are by far the largest tensors of training. Here they are
made for a few tokens at a time, used, and forgotten; the backward pass makes them once more.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

LOGITS_AT_ONCE = 2**24  # 64 MiB in float32: 333 tokens of GPT-2's vocabulary, 8,192 of one of 2,048


def head_logp(model: PreTrainedModel, hidden: Tensor, targets: Tensor) -> Tensor:
    """log softmax(W h)[target]: hidden (N, D), targets (N,); returns (N,), float32 or wider, with gradient.

    W (V, D) is the model's output matrix. Only for a model that ``has_linear_head``.
    """
    weight, device = model.get_output_embeddings().weight, hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    with torch.autocast(device, enabled=False):
        return _HeadLogp.apply(hidden.to(dtype), weight.to(dtype), targets)


class _HeadLogp(torch.autograd.Function):
    """z = W h and log p_y = z_y − log Σ exp z, so ∂ log p_y / ∂z = onehot(y) − p; some tokens at a time.

    The logits made last are kept for the backward pass, which starts with them: there they would stand anyway.

    Since torch 2.13 ``torch.nn.functional.linear_cross_entropy`` computes the same from h, W and y. It is not used:
    under bfloat16 its losses come back in bfloat16, too coarse for the sum over a completion, and torch 2.7, which
    this book still supports, lacks it.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        ctx.tokens = max(1, LOGITS_AT_ONCE // len(weight))
        log_sums, logps, logits = [], [], None
        for h, y in zip(hidden.split(ctx.tokens), targets.split(ctx.tokens), strict=True):
            del logits  # before the next are made
            logits = _logits(h, weight)
            log_sums.append(logits.logsumexp(dim=-1))
            logps.append(logits.gather(-1, y[:, None]).squeeze(-1) - log_sums[-1])
        ctx.save_for_backward(hidden, weight, targets, torch.cat(log_sums))
        ctx.last_logits = logits
        return torch.cat(logps)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        hidden, weight, targets, log_sum = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        wide = torch.promote_types(weight.dtype, torch.float32)  # a sum of many parts, however narrow each is
        grad_weight = torch.zeros_like(weight, dtype=wide) if ctx.needs_input_grad[1] else None
        for start in reversed(range(0, len(hidden), ctx.tokens)):
            part = slice(start, start + ctx.tokens)
            logits = _logits(hidden[part], weight) if ctx.last_logits is None else ctx.last_logits
            ctx.last_logits = None
            p = logits.sub_(log_sum[part, None]).exp_()
            grad_logits = p.mul_(-grad[part, None])
            grad_logits.scatter_add_(-1, targets[part, None], grad[part, None])
            grad_logits = grad_logits.to(weight.dtype)
            grad_hidden[part] = grad_logits @ weight
            if grad_weight is not None and wide == weight.dtype:
                grad_weight.addmm_(grad_logits.T, hidden[part])
            elif grad_weight is not None:
                grad_weight += grad_logits.T @ hidden[part]
            del logits, p, grad_logits  # one tensor, in float32; before the next is made
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None


def _logits(hidden: Tensor, weight: Tensor) -> Tensor:
    logits = hidden @ weight.T
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


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
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            logits = model(input_ids=token, attention_mask=torch.ones_like(token), use_cache=False).logits
    finally:
        hook.remove()
    return len(seen) == 1 and torch.allclose(logits, head(seen[0]).to(logits.dtype))
