"""What a model may be called, and what its name stands for now, told from folders alone [no torch].

Flow: verbs and panels -> ``exact_name``, ``resolve`` -> checkpoint, opening, index. Loading torch and open_clip takes
longer than bringing an index up to date in which nothing changed.
"""

from __future__ import annotations

from core.spec.config import expand_user, split_run
from core.spec.errors import UserError
from core.spec.reading import KILOBYTE, MEGABYTE, UnreadableError, excerpt, read_bytes, read_json
from core.spec.run.folder import RunDir

OPEN_CLIP = "open_clip:"
CHECKPOINT = "step-{:08d}"  # the name of a checkpoint
_LONGEST_RECORD = 64 * MEGABYTE  # of a checkpoint.json


class CheckpointError(UserError):
    """A checkpoint that cannot be written or read; the message names it and the remedy."""


def names(run: RunDir) -> list[str]:
    """Every whole checkpoint, oldest first."""
    if not run.checkpoints.is_dir():
        return []
    return sorted(path.parent.name for path in run.checkpoints.glob("step-*/checkpoint.json"))


def resolve(run: RunDir, which: str) -> str:
    """The name that ``which`` stands for: "best" (the last when none was validated), "last", a step or a name.

    Raises CheckpointError with what there is.
    """
    found = names(run)
    if not found:
        raise CheckpointError(f"{run.path} has no checkpoint yet; train it for longer, or save more often.")
    if which in ("best", "last"):
        pointed = pointer(run, which)
        return pointed if pointed in found else found[-1]
    name = CHECKPOINT.format(int(which)) if which.isdecimal() and len(which) < 20 else which
    if name not in found:
        there = ", ".join((*found[:10], *(["…"] if len(found) > 10 else [])))
        raise CheckpointError(f"{run.path} has no checkpoint {excerpt(which)!r}; there are best, last, {there}.")
    return name


def pointer(run: RunDir, which: str) -> str:
    """The checkpoint that "best" or "last" points to; "" when none."""
    try:
        return read_bytes(run.checkpoints / which, KILOBYTE, root=run.path).decode("ascii").strip()
    except (OSError, UnreadableError, UnicodeDecodeError):
        return ""


def weights_in(run: RunDir, name: str) -> list[str]:
    """The networks that a checkpoint holds: "student" and, where it was trained with one, "teacher"."""
    return [part for part in ("student", "teacher") if (run.checkpoints / name / f"{part}.safetensors").exists()]


def default_network(run: RunDir, which: str) -> str:
    """The network of checkpoint ``which`` that is used where none is named.

    Of "best" it is the one that made it the best; of any other, and where that is not on record, the teacher where
    there is one. Raises CheckpointError as `resolve` does.
    """
    name = resolve(run, which)
    there = weights_in(run, name)
    if which == "best" and (winner := _winner(run, name)) in there:
        return winner
    return "teacher" if "teacher" in there else "student"


def _winner(run: RunDir, name: str) -> str:
    """Which network its ``checkpoint.json`` says was validated better; "" where it does not."""
    try:
        record = read_json(run.checkpoints / name / "checkpoint.json", _LONGEST_RECORD, error=CheckpointError)
    except (OSError, CheckpointError):  # whoever opens the checkpoint is told what is wrong with it
        return ""
    return str(record.get("network", "")) if isinstance(record, dict) else ""


def exact_name(name: str, weights: str = "") -> tuple[str, str]:
    """A model's name that stays true: a run's "best" becomes the checkpoint that it is now; and which weights.

    Raises CheckpointError when the run has none.
    """
    path = expand_user(name)
    if name.startswith(OPEN_CLIP) or (path / "open_clip_config.json").is_file():
        return (name.strip() if name.startswith(OPEN_CLIP) else str(path.absolute())), ""
    split = split_run(name)
    if split is None:
        return name, weights  # `open_model` will say that there is none
    run = RunDir(split[0].absolute())
    found = resolve(run, split[1] or "best")
    return f"{run.path}@{found}", weights or default_network(run, split[1] or "best")
