"""How fast DPO trains here and with TRL's DPOTrainer, and in how much memory: `make bench`, `make bench QUICK=1`.

Both train one model on the same batches of the same pairs in the same order, in float32, with AdamW, dropout off,
on one thread, the reference's log-probabilities computed beforehand. They take turns, a step each, so that a busy
machine slows both alike; the first step of each is not counted, and of the others the median is taken. Peak memory is
measured in a process of its own.
Models have fresh weights and pairs random tokens, for neither changes what a step costs.

Writes FOLDER/bench-cpu.csv, one line a measurement, FOLDER/bench-cpu-losses.csv, the losses of every step, and
FOLDER/bench-cpu.json, on what and with what it was measured.
"""

import dataclasses
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, islice
from pathlib import Path

import pandas as pd
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, TrainerCallback

from dpo_book import DPOConfig, Pair, copy_policy, setup, train_dpo
from dpo_book.data.batches import pair_order
from dpo_book.data.pairs import pair_lengths
from dpo_book.models.arrangement import in_fewest_operations
from dpo_book.models.distinct import distinct_completions
from dpo_book.models.policy import SIZES
from dpo_book.models.scoring import score_pairs
from dpo_book.models.shared_prompt import SharedBatch, collate_shared, shared_logp
from dpo_book.models.traits import traits_of
from dpo_book.system.files import write_text
from dpo_book.system.operations import operations
from dpo_book.system.provenance import processor
from tools import command_line
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
    """What is trained on what. prompt, completion: mean lengths in tokens; each is drawn within ± spread of it.

    answers: how many completions every prompt has, of which all pairs are there; more than two are grouped.
    """

    name: str
    size: str = "mini"
    vocabulary: int = 2048
    prompt: int = 64
    completion: int = 32
    batch: int = 8
    steps: int = 4
    spread: float = 0.25
    answers: int = 2

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
        wanted = self.batch * (self.steps + 1)
        pairs: list[Pair] = []
        while len(pairs) < wanted:
            prompt = self._ids(self.prompt, rng)
            answers = [self._ids(self.completion, rng) for _ in range(self.answers)]
            pairs += [Pair(prompt, chosen, rejected) for chosen, rejected in combinations(answers, 2)]
        return pairs[:wanted]

    def batches(self, pairs: Sequence[Pair], seed: int) -> list[list[Pair]]:
        """The pairs of every step, the first one's too, as ``train_dpo`` goes through them."""
        order = pair_order(pairs, pair_lengths(pairs), self.grouped)
        return [[pairs[i] for i in rows] for rows in islice(order.batches(self.batch, seed), self.steps + 1)]

    @property
    def grouped(self) -> bool:
        return self.answers > 2

    def _ids(self, mean: int, rng: random.Random) -> list[int]:
        length = max(1, round(mean * rng.uniform(1 - self.spread, 1 + self.spread)))
        return [rng.randrange(1, self.vocabulary) for _ in range(length)]

    def config(self, seed: int) -> DPOConfig:
        return DPOConfig(
            beta=BETA, learning_rate=LEARNING_RATE, batch_size=self.batch, steps=self.steps + 1, warmup_steps=0,
            max_grad_norm=MAX_GRAD_NORM, seed=seed, group_by_prompt=self.grouped,
        )  # fmt: skip


SHORT = {"prompt": 16, "completion": 24}
TLDR = {"prompt": 400, "completion": 50}
GPT2_VOCABULARY = 50_257
MINI_16K = {"size": "mini", "vocabulary": 16_384}
SMALL_16K = {"size": "small", "vocabulary": 16_384}
CASES = [
    Case("mini, short pairs", batch=64, steps=11, **SHORT),
    Case("mini, TL;DR-like", batch=8, steps=9, **TLDR),
    Case("124M, short pairs", "124M", GPT2_VOCABULARY, batch=16, steps=3, **SHORT),
    Case("124M, TL;DR-like", "124M", GPT2_VOCABULARY, batch=2, steps=3, **TLDR),
    Case("small, middling pairs", prompt=120, completion=90, batch=8, steps=3, **SMALL_16K),
    Case("small, long completions", prompt=40, completion=200, batch=8, steps=3, **SMALL_16K),
    Case("mini, long prompts", prompt=700, completion=30, batch=8, steps=5, **MINI_16K),
    Case("mini, very short pairs", prompt=8, completion=6, batch=64, steps=11, **MINI_16K),
    Case("mini, six pairs of four completions", prompt=8, completion=48, batch=48, steps=5, answers=4, **MINI_16K),
    Case("small, six pairs of four completions", prompt=8, completion=48, batch=24, steps=3, answers=4, **SMALL_16K),
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
    Case("mini, six pairs of four completions", prompt=8, completion=48, batch=24, steps=4, answers=4, **MINI_16K),
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
    reference_logps = score_pairs(model, pairs, 2 * case.batch)
    records = train_dpo(model, None, pairs, case.config(seed), reference_logps)
    for _ in range(case.steps + 1):
        clock.start()
        clock.losses.append(next(records)["loss"])
        clock.stop()
        yield


def run_trl(
    case: Case,
    seed: int,
    model: GPT2LMHeadModel,
    clock: Clock,
    after_step: Callable[[], None],
    settings: Mapping[str, object] = TRL_SETTINGS,
) -> None:
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
    rows = []
    for batch in case.batches(pairs, seed):
        for pair in batch:
            rows.append({"prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected})
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = trl.DPOConfig(
            output_dir=folder, beta=BETA, learning_rate=LEARNING_RATE, max_steps=case.steps + 1, warmup_steps=0,
            per_device_train_batch_size=case.batch, lr_scheduler_type="cosine", weight_decay=0.0,
            max_grad_norm=MAX_GRAD_NORM, seed=seed, **settings,
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
    run_trl(case, seed, model, clocks["TRL"], after_step=partial(next, ours))
    losses = side_by_side(case, clocks["dpo_book"].losses, clocks["TRL"].losses)
    largest = max(line["relative_difference"] for line in losses)

    of_trl = clocks["TRL"]
    lines = []
    for name, clock in clocks.items():
        line = {"what": name, "pairs_per_second": case.batch / statistics.median(clock.wall[1:])}
        line["pairs_per_cpu_second"] = case.batch / statistics.median(clock.cpu[1:])
        line["times_trl"] = _median_ratio(of_trl.cpu[1:], clock.cpu[1:])
        line["loss_difference"] = largest
        if name == "dpo_book":
            counts = timed_operations(case, seed)
            line["gflops"] = _median_ratio(counts[1:], clock.cpu[1:]) / 1e9
        lines.append(line)
    return lines, losses


def _median_ratio(of_steps: Sequence[float], to_steps: Sequence[float]) -> float:
    """What one had to the other in the middle one of all steps: a step that something else slowed does not count."""
    return statistics.median(a / b for a, b in zip(of_steps, to_steps, strict=True))


def side_by_side(case: Case, ours: list[float], trls: list[float]) -> list[dict]:
    """The losses of both, a line a step."""
    lines = []
    for step, (our, trl) in enumerate(zip(ours, trls, strict=True), start=1):
        line = {"case": case.name, "step": step, "dpo_book": our, "TRL": trl}
        line["relative_difference"] = abs(our / trl - 1)
        lines.append(line)
    return lines


def timed_operations(case: Case, seed: int, device: str = "cpu") -> list[int]:
    """Floating-point operations of every step of ``our_steps``, padding's too.

    On the device "meta" they are counted and not carried out, but for the attention's blocks of a CPU.
    """
    model = case.model(seed)
    traits_of(model)  # found by numbers, of which there are none on "meta"
    model.to(device)
    arrange = partial(in_fewest_operations, model.config.n_embd)
    counts = []
    for pairs in case.batches(case.pairs(seed), seed):
        batch = collate_shared(distinct_completions(pairs, arrange).groups, model.device)
        counts.append(operations(partial(_forward_and_backward, model, batch)))
    return counts


def _forward_and_backward(model: GPT2LMHeadModel, batch: SharedBatch) -> None:
    shared_logp(model, batch).sum().backward()


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
    script = "import sys; from tools.bench import print_peak; print_peak(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(dataclasses.asdict(case)), what, str(seed)],
        capture_output=True, text=True, env=os.environ | RETURNED_WHEN_FREED | {"OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{what} on {case.name}: the process ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def print_peak(case: str, what: str, seed: str) -> None:
    """What ``peak_memory`` asks a process of its own for, as JSON."""
    prepare(int(seed))
    print(json.dumps(_measure_peak(Case(**json.loads(case)), what, int(seed))))


def _measure_peak(case: Case, what: str, seed: int) -> dict:
    importlib.import_module("trl.trainer.dpo_trainer")  # what libraries take counts for nobody
    model = case.model(seed)
    state = 3 * sum(parameter.nbytes for parameter in model.parameters())
    loaded = _held("VmRSS")
    if what == "TRL":
        run_trl(case, seed, model, Clock(), after_step=_nothing)
    elif what == "dpo_book":
        list(our_steps(case, seed, model, Clock()))
    else:
        list(islice(lever_steps(model, case.pairs(seed), case.batch, what, seed), 2))
    peak = _held("VmHWM")  # of this process alone; getrusage goes on from the peak of the one that started it
    return {"peak_mb": (peak - loaded) / 1e6, "state_mb": state / 1e6}


def _nothing() -> None:
    pass


def _held(what: str) -> int:
    """Bytes of memory: VmRSS, what this process holds now, or VmHWM, the most that it ever held."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[what].split()[0]) * 1024


def levers(case: Case, seed: int) -> list[dict]:
    """Each lever on top of those before it: CPU seconds a step, in turns, and peak memory."""
    runs = [lever_steps(case.model(seed), case.pairs(seed), case.batch, name, seed) for name in LEVERS]
    _, *turns = zip(*runs, strict=True)  # a step of each lever; the first of each is not counted
    lines = []
    for name, *seconds in zip(LEVERS, *turns, strict=True):
        line = {"what": name, "pairs_per_cpu_second": case.batch * case.steps / sum(seconds)}
        lines.append(line | peak_memory(case, name, seed) | {"state_mb": None})
    return lines


# ------------------------------------------------------------------ the run


def measure(quick: bool, seed: int) -> Iterator[tuple[dict, list[dict]]]:
    """Every measurement with the case it belongs to, and the losses that came with it."""
    compared, weighed, pulled, growth = CASES, MEMORY_CASES, LEVER_CASES, GROWTH
    if quick:
        compared = [shorter(case) for case in CASES if case.size == "mini" or case.name == "124M, TL;DR-like"]
        weighed = MEMORY_CASES[:1]
        pulled = [shorter(case) for case in LEVER_CASES[1:2]]
        growth = {}
    for case in compared:
        lines, losses = compare(case, seed)
        for line in lines:
            yield _line("compare", case, line), losses if line["what"] == "TRL" else []
    for case in weighed:
        for what in ("dpo_book", "TRL"):
            yield _line("memory", case, {"what": what} | peak_memory(case, what, seed)), []
    for case in pulled:
        for line in levers(case, seed):
            yield _line("levers", case, line), []
    for axis, values in growth.items():
        for value in values:
            case = dataclasses.replace(Case(f"by {axis}"), **{axis: value})
            for line in compare(case, seed)[0]:
                yield _line("growth", case, line), []


def shorter(case: Case) -> Case:
    """With a quarter of the steps."""
    return dataclasses.replace(case, steps=max(1, case.steps // 4))


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


def prepare(seed: int) -> None:
    """As every run of the book starts, but without deterministic algorithms: neither side needs them."""
    setup(seed)
    torch.use_deterministic_algorithms(False)


def bench(quick: bool = False, out: Path | None = None, seed: int = 0) -> None:
    """How fast DPO trains here and with TRL's DPOTrainer, and in how much memory: forty minutes and 12 GB.

    The tables enter OUT/bench-cpu.csv and OUT/bench-cpu-losses.csv line by line; OUT/bench-cpu.json says on what
    machine and with what software.

    Args:
        quick: fewer cases and steps, about four minutes.
        out: folder of the tables; by default notebooks/results, with --quick runs/bench.
        seed: of weights, tokens and the order of batches.
    """
    out = out or Path("runs/bench" if quick else "notebooks/results")
    if importlib.util.find_spec("trl") is None:
        command_line.refuse("TRL is not installed; it comes with the test extra: pip install -e .[test]")
    if not STATUS.exists():
        command_line.refuse(f"peak memory is read from {STATUS}, which only Linux has")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        command_line.refuse(f"cannot write to {out}: {error.strerror}")

    prepare(seed)
    write_text(out / "bench-cpu.json", json.dumps(circumstances(seed, quick), indent=2) + "\n")
    lines, losses = [], []
    for line, of_steps in measure(quick, seed):
        lines.append(line)
        losses += of_steps
        print(_summary(line), flush=True)
        _write_table(out / "bench-cpu.csv", lines, "%.6g")
        _write_table(out / "bench-cpu-losses.csv", losses, "%.9g")


def _write_table(path: Path, lines: list[dict], digits: str) -> None:
    write_text(path, pd.DataFrame(lines).to_csv(index=False, float_format=digits))


SHOWN = {
    "pairs_per_second": "{:.4g} pairs/s",
    "pairs_per_cpu_second": "{:.4g} pairs/CPU s",
    "gflops": "{:.1f} · 10⁹ operations/CPU s",
    "times_trl": "{:.2f} times TRL's",
    "loss_difference": "losses within {:.1e}",
    "peak_mb": "peak {:.0f} MB",
    "state_mb": "{:.0f} MB of them gradients and AdamW's state",
}


def _summary(line: dict) -> str:
    changed = "" if line["table"] != "growth" else f" {line[line['case'].removeprefix('by ')]}"
    parts = [f"{line['table']}: {line['case']}{changed}: {line['what']}"]
    for name, form in SHOWN.items():
        if line.get(name) is not None:
            parts.append(form.format(line[name]))
    return ", ".join(parts)


def main(arguments: list[str] | None = None) -> None:
    command_line.run(bench, arguments)


if __name__ == "__main__":
    main()
