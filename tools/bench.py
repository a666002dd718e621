"""How fast DPO trains here and with TRL's DPOTrainer, and in how much memory: `make bench`, `make bench QUICK=1`.

Both train one model on the same batches of the same pairs in the same order, in float32, with AdamW, dropout off,
on one thread, the reference's log-probabilities computed beforehand. They take turns, a step each, so that a busy
machine slows both alike; the first step of each is not counted. Peak memory is measured in a process of its own.
Models have fresh weights and pairs random tokens, for neither changes what a step costs.

Writes FOLDER/bench-cpu.csv, one line a measurement, FOLDER/bench-cpu-losses.csv, the losses of every step, and
FOLDER/bench-cpu.json, on what and with what it was measured.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, TrainerCallback

from dpo_book import DPOConfig, Pair, copy_policy, setup, train_dpo
from dpo_book.data.pairs import batches_by_length, pair_lengths
from dpo_book.models.policy import SIZES
from dpo_book.models.shared_prompt import pair_logps
from dpo_book.system.files import write_text
from dpo_book.system.machine import processor
from dpo_book.system.operations import operations
from dpo_book.training.offline import compute_reference_logps
from tools.levers import LEVERS, lever_steps

STATUS = Path("/proc/self/status")
BETA, LEARNING_RATE, MAX_GRAD_NORM = 0.1, 1e-5, 10.0
SHAPES = {
    "nano": SIZES["nano"],
    "mini": SIZES["mini"],
    "small": {"n_layer": 6, "n_head": 6, "n_embd": 384},
    "124M": {"n_layer": 12, "n_head": 12, "n_embd": 768},  # GPT-2's own
}
# What makes TRL fastest on a CPU: nothing computed twice, nothing written, no progress bar. The optimizer
# (adamw_torch_fused) is already its default.
TRL_SETTINGS = {
    "gradient_checkpointing": False,
    "precompute_ref_log_probs": True,
    "train_sampling_strategy": "sequential",
    "bf16": False,
    "use_cpu": True,
    "dataloader_pin_memory": False,
    "max_length": None,
    "logging_steps": 10**9,
    "logging_strategy": "steps",
    "save_strategy": "no",
    "report_to": "none",
    "log_level": "error",
    "disable_tqdm": True,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained on what. prompt, completion: mean lengths in tokens; each is drawn within ± spread of it."""

    name: str
    size: str = "mini"
    vocabulary: int = 2048
    prompt: int = 64
    completion: int = 32
    batch: int = 8
    steps: int = 4
    spread: float = 0.25

    def model(self, seed: int) -> GPT2LMHeadModel:
        """A GPT-2 with fresh weights."""
        positions = 2 * (self.prompt + self.completion)
        off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
        shape = SHAPES[self.size] | {"n_positions": max(1024, positions), "activation_function": "gelu_pytorch_tanh"}
        torch.manual_seed(seed)
        return GPT2LMHeadModel(GPT2Config(vocab_size=self.vocabulary, **shape, **off, **special)).eval()

    def pairs(self, seed: int) -> list[Pair]:
        """Random tokens, one epoch of them: a batch for every step and one to warm up."""
        rng = random.Random(seed)

        def ids(mean: int) -> list[int]:
            length = max(1, round(mean * rng.uniform(1 - self.spread, 1 + self.spread)))
            return [rng.randrange(1, self.vocabulary) for _ in range(length)]

        count = self.batch * (self.steps + 1)
        return [Pair(ids(self.prompt), ids(self.completion), ids(self.completion)) for _ in range(count)]

    def config(self, seed: int) -> DPOConfig:
        return DPOConfig(
            beta=BETA, learning_rate=LEARNING_RATE, batch_size=self.batch, steps=self.steps + 1, warmup_steps=0,
            max_grad_norm=MAX_GRAD_NORM, seed=seed,
        )  # fmt: skip


SHORT = {"prompt": 16, "completion": 24}
TLDR = {"prompt": 400, "completion": 50}
GPT2_VOCABULARY = 50_257
CASES = [
    Case("mini, short pairs", batch=64, steps=10, **SHORT),
    Case("mini, TL;DR-like", batch=8, steps=8, **TLDR),
    Case("124M, short pairs", "124M", GPT2_VOCABULARY, batch=16, steps=2, **SHORT),
    Case("124M, TL;DR-like", "124M", GPT2_VOCABULARY, batch=2, steps=3, **TLDR),
]
MEMORY_CASES = [
    Case("mini with GPT-2's vocabulary, short pairs", "mini", GPT2_VOCABULARY, batch=32, steps=1, **SHORT),
    Case("mini with GPT-2's vocabulary, TL;DR-like", "mini", GPT2_VOCABULARY, batch=8, steps=1, **TLDR),
    Case("124M, short pairs", "124M", GPT2_VOCABULARY, batch=64, steps=1, **SHORT),
    Case("124M, TL;DR-like", "124M", GPT2_VOCABULARY, batch=8, steps=1, **TLDR),
]
# Freed blocks above this size go back to the system at once, for both alike. Else the C library keeps some, more
# or less as it happens, and the peak would tell its habits and not what the trainers hold.
RETURNED_WHEN_FREED = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
LEVER_CASES = [
    Case("124M, TL;DR-like", "124M", GPT2_VOCABULARY, batch=2, steps=2, **TLDR),
    Case("mini with GPT-2's vocabulary, short pairs", "mini", GPT2_VOCABULARY, batch=16, steps=4, **SHORT),
]
GROWTH = {
    "prompt": [16, 64, 256],
    "completion": [8, 32, 128],
    "batch": [2, 8, 32],
    "vocabulary": [2048, 8192, GPT2_VOCABULARY],
    "size": ["nano", "mini", "small"],
}


# ------------------------------------------------------------------ the two trainers, a step at a time


class Clock:
    """Wall and CPU seconds of the steps of one trainer, and their losses."""

    def __init__(self) -> None:
        self.wall, self.cpu, self.losses = [], [], []
        self.start()

    def start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.wall.append(time.perf_counter() - self._wall)
        self.cpu.append(time.process_time() - self._cpu)


def our_steps(case: Case, seed: int, model: GPT2LMHeadModel, clock: Clock) -> Iterator[None]:
    """``train_dpo``, timed."""
    pairs = case.pairs(seed)
    reference_logps = compute_reference_logps(model, pairs, 2 * case.batch)
    records = train_dpo(model, None, pairs, case.config(seed), reference_logps)
    for _ in range(case.steps + 1):
        clock.start()
        clock.losses.append(next(records)["loss"])
        clock.stop()
        yield


def run_trl(case: Case, seed: int, model: GPT2LMHeadModel, clock: Clock, after_step: Callable[[], None]) -> None:
    """TRL's DPOTrainer, timed. ``after_step`` runs between two steps, off the clock."""
    import trl
    from datasets import Dataset, disable_progress_bars
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    class Trainer(trl.DPOTrainer):
        def _prepare_dataset(self, dataset, *_):
            return dataset  # it holds token ids already

        def compute_loss(self, *args, **kwargs):
            loss = super().compute_loss(*args, **kwargs)
            clock.losses.append(loss.detach())
            return loss

    class BetweenSteps(TrainerCallback):
        def on_train_begin(self, *_, **__):
            clock.start()

        def on_step_end(self, *_, **__):
            clock.stop()
            after_step()
            clock.start()

    disable_progress_bars()
    pairs = case.pairs(seed)
    batches = islice(batches_by_length(pair_lengths(pairs), case.batch, seed), case.steps + 1)
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    rows = [dict(zip(columns, pairs[i][:3], strict=True)) for batch in batches for i in batch]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = trl.DPOConfig(
            output_dir=folder, beta=BETA, learning_rate=LEARNING_RATE, max_steps=case.steps + 1, warmup_steps=0,
            per_device_train_batch_size=case.batch, lr_scheduler_type="cosine", weight_decay=0.0,
            max_grad_norm=MAX_GRAD_NORM, seed=seed, **TRL_SETTINGS,
        )  # fmt: skip
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.WordLevel({"<e>": 0}, unk_token="<e>")),
            eos_token="<e>",
            pad_token="<e>",
        )
        trainer = Trainer(
            model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
            callbacks=[BetweenSteps()],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)  # what disable_tqdm puts in the bar's place
        trainer.train()
    clock.losses = [float(loss) for loss in clock.losses]


# ------------------------------------------------------------------ what is measured


def compare(case: Case, seed: int) -> tuple[list[dict], list[dict]]:
    """Both trainers in turns: a line for each, and their losses side by side. times_trl compares CPU seconds."""
    model = case.model(seed)
    clocks = {"dpo_book": Clock(), "TRL": Clock()}
    ours = our_steps(case, seed, copy_policy(model), clocks["dpo_book"])
    run_trl(case, seed, model, clocks["TRL"], after_step=lambda: next(ours))
    losses = [
        {
            "case": case.name,
            "step": step,
            "dpo_book": mine,
            "TRL": trls,
            "relative_difference": abs(mine / trls - 1),
        }
        for step, (mine, trls) in enumerate(zip(*(clock.losses for clock in clocks.values()), strict=True), start=1)
    ]
    lines = []
    for name, clock in clocks.items():
        done, wall, cpu = case.batch * case.steps, sum(clock.wall[1:]), sum(clock.cpu[1:])
        lines.append({"what": name, "pairs_per_second": done / wall, "pairs_per_cpu_second": done / cpu})
        lines[-1]["times_trl"] = sum(clocks["TRL"].cpu[1:]) / cpu
        lines[-1]["loss_difference"] = max(line["relative_difference"] for line in losses)
        if name == "dpo_book":
            lines[-1]["gflops"] = timed_operations(case, seed) / cpu / 1e9
    return lines, losses


def timed_operations(case: Case, seed: int) -> int:
    """Floating-point operations of the steps of ``our_steps`` that count, all but the first."""
    model, pairs = case.model(seed), case.pairs(seed)
    batches = islice(batches_by_length(pair_lengths(pairs), case.batch, seed), 1, case.steps + 1)
    loss = lambda rows: sum(pair_logps(model, [pairs[i] for i in rows], share=True)).sum()
    return sum(operations(lambda rows=rows: loss(rows).backward()) for rows in batches)


def matrix_rate() -> float:
    """Floating-point operations in 10⁹ a CPU second of the best thing there is: square float32 matrices, large."""
    a, b = torch.randn(2, 1024, 1024)
    a @ b
    start = time.process_time()
    for _ in range(100):
        a @ b
    return 100 * 2 * 1024**3 / (time.process_time() - start) / 1e9


def peak_memory(case: Case, what: str, seed: int) -> dict:
    """Memory of two steps of "dpo_book", "TRL" or a lever's side, in a process of its own, in MB (10⁶ bytes).

    peak_mb: the most that was held, less what was held once the model was loaded. state_mb: of this, gradients
    and AdamW's two moments, which no trainer can do without; what is left is the trainer's own.
    """
    command = [sys.executable, "-m", "tools.bench", "--seed", str(seed), "--peak", what]
    done = subprocess.run(
        [*command, json.dumps(dataclasses.asdict(case))],
        capture_output=True, text=True, env=os.environ | RETURNED_WHEN_FREED | {"OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{what} on {case.name}: the process ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure_peak(case: Case, what: str, seed: int) -> dict:
    importlib.import_module("trl.trainer.dpo_trainer")  # what libraries take counts for nobody
    model = case.model(seed)
    state = 3 * sum(parameter.nbytes for parameter in model.parameters())
    loaded = _held("VmRSS")
    if what == "TRL":
        run_trl(case, seed, model, Clock(), after_step=lambda: None)
    elif what == "dpo_book":
        list(our_steps(case, seed, model, Clock()))
    else:
        list(islice(lever_steps(model, case.pairs(seed), case.batch, what, seed), 2))
    peak = _held("VmHWM")  # of this process alone; getrusage goes on from the peak of the one that started it
    return {"peak_mb": (peak - loaded) / 1e6, "state_mb": state / 1e6}


def _held(what: str) -> int:
    """Bytes of memory: VmRSS, what this process holds now, or VmHWM, the most that it ever held."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[what].split()[0]) * 1024


def levers(case: Case, seed: int) -> list[dict]:
    """Each lever on top of those before it: CPU seconds a step, in turns, and peak memory."""
    runs = {name: lever_steps(case.model(seed), case.pairs(seed), case.batch, name, seed) for name in LEVERS}
    turns = list(zip(*runs.values(), strict=True))[1:]
    lines = []
    for name, seconds in zip(runs, zip(*turns, strict=True), strict=True):
        line = {"what": name, "pairs_per_cpu_second": case.batch * case.steps / sum(seconds)}
        lines.append(line | peak_memory(case, name, seed) | {"state_mb": None})
    return lines


# ------------------------------------------------------------------ the run


def measure(quick: bool, seed: int) -> Iterator[tuple[dict, list[dict]]]:
    """Every measurement with the case it belongs to, and the losses that came with it."""
    shorter = lambda case: dataclasses.replace(case, steps=max(1, case.steps // 4))
    quickly = [case for case in CASES if "124M, short" not in case.name]
    for case in map(shorter, quickly) if quick else CASES:
        lines, losses = compare(case, seed)
        for line in lines:
            yield _line("compare", case, line), losses if line["what"] == "TRL" else []
    for case in MEMORY_CASES[:1] if quick else MEMORY_CASES:
        for what in ("dpo_book", "TRL"):
            yield _line("memory", case, {"what": what} | peak_memory(case, what, seed)), []
    for case in map(shorter, LEVER_CASES[1:]) if quick else LEVER_CASES:
        for line in levers(case, seed):
            yield _line("levers", case, line), []
    for axis, values in {} if quick else GROWTH.items():
        for value in values:
            case = dataclasses.replace(Case(f"by {axis}"), **{axis: value})
            for line in compare(case, seed)[0]:
                yield _line("growth", case, line), []


def _line(table: str, case: Case, measured: dict) -> dict:
    shown = {name: value for name, value in dataclasses.asdict(case).items() if name != "name"}
    return {"table": table, "case": case.name, "what": measured["what"], **shown, **measured}


def circumstances(seed: int, quick: bool) -> dict:
    """On what machine, with what software and settings."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl", "dpo-book")}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **versions,
        "seed": seed,
        "quick": quick,
        "precision": "float32",
        "optimizer": "AdamW",
        "trl_settings": TRL_SETTINGS,
        "matrix_gflops": round(matrix_rate(), 1),
        "peak_memory": "VmHWM less VmRSS once the model is loaded, " + json.dumps(RETURNED_WHEN_FREED),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer cases and steps: about four minutes")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="notebooks/results; runs/bench with --quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)  # what a process of its own is asked for
    options = parser.parse_args(arguments)
    options.out = options.out or Path("runs/bench" if options.quick else "notebooks/results")
    if importlib.util.find_spec("trl") is None:
        parser.error("TRL is not installed; it comes with the test extra: pip install -e .[test]")
    if not STATUS.exists():
        parser.error(f"peak memory is read from {STATUS}, which only Linux has")
    setup(options.seed)
    torch.use_deterministic_algorithms(False)  # neither side needs them to be compared
    if options.peak:
        what, case = options.peak
        print(json.dumps(_measure_peak(Case(**json.loads(case)), what, options.seed)))
        return
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"cannot write to {options.out}: {error.strerror}")

    about = json.dumps(circumstances(options.seed, options.quick), indent=2) + "\n"
    write_text(options.out / "bench-cpu.json", about)
    lines, losses = [], []
    for line, of_steps in measure(options.quick, options.seed):
        lines.append(line)
        losses += of_steps
        print(_summary(line), flush=True)
        for name, rows, digits in (("bench-cpu", lines, "%.6g"), ("bench-cpu-losses", losses, "%.9g")):
            write_text(options.out / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False, float_format=digits))


def _summary(line: dict) -> str:
    changed = "" if line["table"] != "growth" else f" {line[line['case'].removeprefix('by ')]}"
    parts = [f"{line['table']}: {line['case']}{changed}: {line['what']}"]
    for name, form in (
        ("pairs_per_second", "{:.4g} pairs/s"), ("pairs_per_cpu_second", "{:.4g} pairs/CPU s"),
        ("gflops", "{:.1f} · 10⁹ operations/CPU s"), ("times_trl", "{:.2f} times TRL's"),
        ("loss_difference", "losses within {:.1e}"),
        ("peak_mb", "peak {:.0f} MB"), ("state_mb", "{:.0f} MB of them gradients and AdamW's state"),
    ):  # fmt: skip
        if line.get(name) is not None:
            parts.append(form.format(line[name]))
    return ", ".join(parts)


if __name__ == "__main__":
    main()
