"""What a computation costs, counted and not timed: the same number on any machine."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten
# What torch's counter does not know yet: a product that is added in place, and attention on a CPU.
_MORE = {
    aten.addmm_: lambda _, a, b, **__: 2 * a[0] * a[1] * b[1],
    aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(grad, q, k, v)
    ),
}


def operations(compute: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products in ``compute()``, attention's among them.

    A product of (n, m) and (m, k) is 2 n m k. Entries that a mask hides count too: they are computed all the same.
    """
    with FlopCounterMode(display=False, custom_mapping=_MORE) as counter:
        compute()
    return counter.get_total_flops()
