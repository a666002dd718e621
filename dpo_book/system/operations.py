"""What a computation costs, counted and not timed: the same number on any machine."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten


# What torch's counter does not know yet: a product that is added in place, and attention on a CPU. Shapes are given.
def _product(_, a, b, **__) -> int:
    return 2 * a[0] * a[1] * b[1]


def _attention(q, k, v, *_, **__) -> int:
    return sdpa_flop_count(q, k, v)


def _attention_backward(grad, q, k, v, *_, **__) -> int:
    return sdpa_backward_flop_count(grad, q, k, v)


_MORE = {
    aten.addmm_: _product,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def operations(compute: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products in ``compute()``, attention's among them.

    A product of (n, m) and (m, k) is 2 n m k. Entries that a mask hides count too: they are computed all the same.
    """
    with FlopCounterMode(display=False, custom_mapping=_MORE) as counter:
        compute()
    return counter.get_total_flops()
