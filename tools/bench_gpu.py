"""How fast DPO trains on a GPU, here and with TRL's DPOTrainer, and in how much of its memory: `make bench-gpu`.

Both train one GPT-2 of 124M parameters, with fresh weights, on the same batches of the same random tokens, in
bfloat16 autocast over float32 weights, with AdamW, the reference's log-probabilities computed beforehand. They take
turns, a step each; the GPU is waited for before every look at the clock. The first steps of each are not counted.

Writes FOLDER/bench-gpu.csv, one line a measurement, FOLDER/bench-gpu-losses.csv, the losses of every step, and
FOLDER/bench-gpu.json, on what and with what it was measured.
"""

import dataclasses
import datetime
import gc
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from tqdm import tqdm
from transformers import GPT2LMHeadModel

from dpo_book import best_device, copy_policy
from dpo_book.models.batch import width_unit
from dpo_book.models.shared_prompt import collate_shared, pair_groups
from dpo_book.system.devices import VARIABLE, describe, precision
from dpo_book.system.files import write_text
from tools import command_line
from tools.bench import (
    GPT2_VOCABULARY,
    TRL_SETTINGS,
    Case,
    Clock,
    our_steps,
    prepare,
    run_trl,
    side_by_side,
    timed_operations,
)
from tools.optimum import distance_to_optimum

GPT2 = {"size": "124M", "vocabulary": GPT2_VOCABULARY}
CASES = [
    Case("short pairs", prompt=16, completion=24, batch=256, steps=20, **GPT2),
    Case("TL;DR-like", prompt=400, completion=50, batch=64, steps=12, **GPT2),
    Case("long prompts", prompt=700, completion=30, batch=32, steps=12, **GPT2),
    Case("long completions", prompt=40, completion=200, batch=64, steps=12, **GPT2),
    Case("six pairs of four completions", prompt=8, completion=48, batch=192, steps=12, answers=4, **GPT2),
]
OPTIMA = [(0.3, 1200), (1.0, 1200), (2.0, 1200)]  # beta, steps of 128 soft pairs
WARM_UP = 3  # steps of each that are not counted: the first ones choose kernels and fill the allocator

# As on a CPU (tools/bench.py), but for what a GPU is for.
TRL_ON_GPU = {**TRL_SETTINGS, "bf16": True, "use_cpu": False, "dataloader_pin_memory": True}


class GpuClock(Clock):
    """Seconds of the steps of one trainer, with all that it gave the GPU to do, and their losses."""

    def start(self) -> None:
        torch.cuda.synchronize()
        super().start()

    def stop(self) -> None:
        torch.cuda.synchronize()
        super().stop()

    def counted(self) -> float:
        """Seconds of all steps but the first ones."""
        return sum(self.wall[WARM_UP:])


def compare(case: Case, seed: int, matrix_rate: float) -> tuple[list[dict], list[dict]]:
    """Both trainers in turns: a line for each, and their losses side by side. matrix_rate: operations a second."""
    model = case.model(seed)
    operations = sum(timed_operations(case, seed, "meta")[WARM_UP:])
    model = model.to(best_device())
    clocks = {"dpo_book": GpuClock(), "TRL": GpuClock()}
    ours = our_steps(case, seed, copy_policy(model), clocks["dpo_book"])
    run_trl(case, seed, copy_policy(model), clocks["TRL"], partial(next, ours), trl_settings(case))
    losses = side_by_side(case, clocks["dpo_book"].losses, clocks["TRL"].losses)
    steps = case.steps + 1 - WARM_UP
    seconds_of_trl = clocks["TRL"].counted()
    lines = []
    for name, clock in clocks.items():
        seconds = clock.counted()
        line = {"what": name, "pairs_per_second": case.batch * steps / seconds}
        line["times_trl"] = seconds_of_trl / seconds
        line["loss_difference"] = max(line["relative_difference"] for line in losses)
        if name == "dpo_book":
            rate = operations / seconds
            line |= {"tflops": rate / 1e12, "share_of_matrix_rate": rate / matrix_rate}
        lines.append(line)
    del ours
    for line in lines:
        line["peak_mb"] = peak_memory(case, seed, copy_policy(model), line["what"])
    return lines, losses


def trl_settings(case: Case) -> dict:
    """TRL's on a GPU, with rows as wide as suits it, too: one width for every length would be a plan for each."""
    return {**TRL_ON_GPU, "pad_to_multiple_of": width_unit(case.prompt + case.completion)}


def peak_memory(case: Case, seed: int, model: GPT2LMHeadModel, what: str) -> float:
    """The most that two steps hold in the GPU's memory besides the model's weights, in MB (10⁶ bytes)."""
    case = dataclasses.replace(case, steps=1)
    start = _forget()
    if what == "TRL":
        run_trl(case, seed, model, GpuClock(), _nothing, trl_settings(case))
    else:
        list(our_steps(case, seed, model, GpuClock()))
    return (torch.cuda.max_memory_allocated() - start) / 1e6


def _forget() -> int:
    """Bytes that are in use once everything else is let go; the peak is counted from here on."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _nothing() -> None:
    pass


def _synchronized() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def attention(case: Case, seed: int) -> Iterator[dict]:
    """One layer's attention over rows that share a prompt, forward and backward: a dense mask, or blocks of one.

    FlexAttention skips blocks of 128 × 128 that nobody attends to; finding them out is part of its time here, where a
    model would do it once for all its layers.
    """
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    batch = collate_shared(pair_groups(case.pairs(seed)[: case.batch]), best_device())
    mask = batch.attention_mask  # (B, 1, T, T)
    rows, _, width, _ = mask.shape
    q, k, v = torch.randn(3, rows, 12, width, 64, device=mask.device, dtype=torch.bfloat16, requires_grad=True)
    flex = torch.compile(flex_attention)

    def attends(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return mask[b, 0, i, j]

    def dense() -> Tensor:
        return scaled_dot_product_attention(q, k, v, attn_mask=mask)

    def without_cudnn() -> Tensor:
        with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
            return scaled_dot_product_attention(q, k, v, attn_mask=mask)

    def blocks() -> Tensor:
        found = create_block_mask(attends, rows, None, width, width, device=mask.device)
        return flex(q, k, v, block_mask=found)

    def causal() -> Tensor:
        return scaled_dot_product_attention(q, k, v, is_causal=True)

    expected = dense()
    ways = {"dense mask": dense, "dense mask, without cuDNN": without_cudnn, "FlexAttention": blocks}
    for name, attend in {**ways, "causal, no mask": causal}.items():
        off = None if attend is causal else (attend() - expected).abs().max().item()
        yield {"what": name, "milliseconds": 1e3 * _seconds_of(attend), "off": off}


def head_products(tokens: int = 1024, width: int = 768) -> Iterator[dict]:
    """h Wᵀ at GPT-2's vocabulary as it is, and with rows of zeros up to a multiple of 64."""
    device = best_device()
    hidden = torch.randn(tokens, width, device=device, dtype=precision(device))
    for rows in (GPT2_VOCABULARY, math.ceil(GPT2_VOCABULARY / 64) * 64):
        matrix = torch.randn(rows, width, device=device, dtype=precision(device))
        for _ in range(WARM_UP):
            hidden @ matrix.T
        start = _synchronized()
        for _ in range(50):
            hidden @ matrix.T
        rate = 50 * 2 * tokens * width * rows / (_synchronized() - start)
        yield {"what": f"{rows} rows", "tflops": rate / 1e12}


def _seconds_of(attend: Callable[[], Tensor], times: int = 10) -> float:
    for _ in range(WARM_UP):
        attend().sum().backward()
    start = _synchronized()
    for _ in range(times):
        attend().sum().backward()
    return (_synchronized() - start) / times


def measured_matrix_rate(size: int = 8192) -> float:
    """Operations a second of one product of two large square matrices in the precision of a step."""
    a, b = torch.randn(2, size, size, device=best_device(), dtype=precision(best_device()))
    for _ in range(5):
        a @ b
    start = _synchronized()
    for _ in range(30):
        a @ b
    return 30 * 2 * size**3 / (_synchronized() - start)


def optimum(beta: float, steps: int, seed: int) -> dict:
    """Chapter 07's run on the GPU: how far π_θ ends from π*, in nats."""
    os.environ[VARIABLE] = str(best_device())
    distance, total = distance_to_optimum(beta, steps, seed)
    return {"what": f"beta {beta:g}", "kl_to_optimum": distance, "sum_of_p": total.mean().item()}


# ------------------------------------------------------------------ the run


def measure(seed: int, matrix_rate: float) -> Iterator[tuple[dict, list[dict]]]:
    """Every measurement, and the losses that came with it."""
    for case in CASES:
        lines, losses = compare(case, seed, matrix_rate)
        for line in lines:
            yield _line("compare", case, line), losses if line["what"] == "TRL" else []
    for line in head_products():
        yield {"table": "head", "case": "1,024 tokens, width 768"} | line, []
    for case in CASES[1:2]:
        for line in attention(case, seed):
            yield _line("attention", case, line), []
    for beta, steps in OPTIMA:
        yield {"table": "optimum", "case": "chapter 07", "steps": steps} | optimum(beta, steps, seed), []


def _line(table: str, case: Case, measured: dict) -> dict:
    shown = {name: value for name, value in dataclasses.asdict(case).items() if name != "name"}
    return {"table": table, "case": case.name, "what": measured["what"], **shown, **measured}


def circumstances(seed: int, matrix_rate: float) -> dict:
    """On what machine, with what software and settings."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl")}
    return {
        "date": datetime.date.today().isoformat(),
        "device": describe(best_device()),
        "memory_gb": round(torch.cuda.get_device_properties(best_device()).total_memory / 1e9),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        **versions,
        "seed": seed,
        "precision": f"{precision(best_device())} autocast, float32 weights".removeprefix("torch."),
        "optimizer": "AdamW",
        "steps_not_counted": WARM_UP,
        "trl_settings": TRL_ON_GPU,
        "trl_pad_to_multiple_of": {case.name: trl_settings(case)["pad_to_multiple_of"] for case in CASES},
        "matrix_tflops": round(matrix_rate / 1e12, 1),
        "peak_memory": "torch.cuda.max_memory_allocated of two steps, less the model's weights",
    }


def gpu_is_here() -> bool:
    return torch.cuda.is_available()


def bench(out: Path = Path("notebooks/results"), seed: int = 0) -> None:
    """How fast DPO trains on this machine's GPU and with TRL's DPOTrainer, and in how much memory: five minutes.

    Args:
        out: folder of the tables bench-gpu.csv, bench-gpu-losses.csv and bench-gpu.json.
        seed: of weights, tokens and the order of batches.
    """
    if not gpu_is_here():
        command_line.refuse("this measures a CUDA GPU, and this machine has none; make bench measures a CPU")
    if importlib.util.find_spec("trl") is None:
        command_line.refuse("TRL is not installed; it comes with the test extra: pip install -e .[test]")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        command_line.refuse(f"cannot write to {out}: {error.strerror}")
    prepare(seed)
    matrix_rate = measured_matrix_rate()
    write_text(out / "bench-gpu.json", json.dumps(circumstances(seed, matrix_rate), indent=2) + "\n")
    lines, losses = [], []
    for line, of_steps in tqdm(measure(seed, matrix_rate), unit="measurement"):
        lines.append(line)
        losses += of_steps
        write_text(out / "bench-gpu.csv", pd.DataFrame(lines).to_csv(index=False, float_format="%.6g"))
        write_text(out / "bench-gpu-losses.csv", pd.DataFrame(losses).to_csv(index=False, float_format="%.9g"))
        print({name: value for name, value in line.items() if value is not None}, flush=True)


def main(arguments: list[str] | None = None) -> None:
    command_line.run(bench, arguments)


if __name__ == "__main__":
    main()
