"""A training run's state on disk: one file, replaced whole, from which the run goes on bit for bit.

The state is what the next update depends on: weights and the optimiser's state (safetensors, so that loading runs no
code), and the step, from which the learning rate and the place in the data order follow. Beside them stand the
run's identity and a digest, so that a foreign or damaged file is refused.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dpo_book.maths.require import require_count
from dpo_book.system.files import replace_whole
from dpo_book.system.provenance import digest
from dpo_book.training.updates import Updates

Identity = Mapping[str, object]  # what decides a run's course, by name: settings, and digests of models and data


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, is another run's, or could not be written; the message says which file and why."""


class Checkpoints:
    """The last state of the run with this ``identity``, in the file ``path``, replaced ``every`` so many steps.

    done: the updates after which it was kept, 0 where there is none yet. records_digest, evaluations_digest: of what
    was written down up to there, where whoever writes it sets them; kept with the state, so that it can be held
    against them. CheckpointError for a file that is damaged, or that another run has left. writes: False in all but
    one of several processes.
    """

    def __init__(self, path: Path, identity: Identity, every: int, writes: bool = True):
        require_count("checkpoint_every", every)
        self._path, self._every, self._writes = path, every, writes
        self._identity = json.loads(json.dumps(identity))  # as it reads after it was written
        self.done = 0
        self.records_digest: str | None = None
        self.evaluations_digest: str | None = None
        self._state: dict[str, Tensor] = {}
        if path.exists():
            self._read()

    def restore(self, updates: Updates) -> int:
        """Bring ``updates`` and their model to the kept state, if there is one; the number of updates done."""
        if self.done:
            updates.restore(self._state, self.done)
            self._state = {}  # as large as three models
        return self.done

    def due(self, step: int) -> bool:
        return step % self._every == 0

    def save(self, updates: Updates) -> None:
        """Keep the state instead of the last one, which stays until the new one is whole and on the disk."""
        if updates.done == self.done:
            return
        state = {}
        for name, value in updates.state():  # in every process, since each may hold a part
            if self._writes:
                state[name] = value.cpu().contiguous()
        if self._writes:
            self._write(updates.done, state)
        self.done = updates.done

    def _write(self, step: int, state: dict[str, Tensor]) -> None:
        about = {
            "step": step,
            "identity": self._identity,
            "records": self.records_digest,
            "evaluations": self.evaluations_digest,
        }
        text = json.dumps(about, sort_keys=True)
        metadata = {"about": text, "sha256": digest(text, state)}
        try:
            replace_whole(self._path, partial(save_file, state, metadata=metadata))
        except (OSError, SafetensorError) as error:
            kept = f"the checkpoint of step {self.done} is kept" if self.done else "there is no earlier one"
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(f"{self._path}: step {step} could not be saved; {kept} ({reason})") from error

    def _read(self) -> None:
        """Take the state, and what is said about it, from the file."""
        try:
            with safe_open(self._path, framework="pt") as file:
                metadata = file.metadata() or {}
                state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118, no dict
            if metadata["sha256"] != digest(metadata["about"], state):
                raise ValueError("its content does not match its digest")
            about = json.loads(metadata["about"])
            done, identity = about["step"], about["identity"]
        except OSError as error:  # as safetensors raises it, without the file's name
            raise CheckpointError(f"{self._path} cannot be read ({error})") from error
        except (SafetensorError, ValueError, KeyError) as error:
            why = f"no {error}" if isinstance(error, KeyError) else error
            raise CheckpointError(
                f"{self._path} is damaged, or no checkpoint of this book ({why}). To begin anew, delete it"
            ) from error
        if differing := differences(identity, self._identity):
            raise CheckpointError(f"{self._path} is the checkpoint of another run: {differing}")
        self.done, self._state = done, state
        self.records_digest = about.get("records")  # None also where an earlier version wrote it
        self.evaluations_digest = about.get("evaluations")


def differences(there: Identity, here: Identity) -> str:
    """What differs between two runs' identities, for an error message; empty if nothing does.

    What one of them does not have differs, also from None: an earlier version did not know it.
    """
    differing = []
    for name in {**there, **here}:
        both = there.get(name, "not set"), here.get(name, "not set")
        if both[0] != both[1]:
            differing.append(f"{name} is {both[0]} there, {both[1]} here")
    return "; ".join(differing)
