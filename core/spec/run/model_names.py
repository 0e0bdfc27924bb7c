"""Names of models, and the network that a name stands for now, from folders alone [no torch].

Flow: verbs and panels -> ``locate`` -> ``core.checkpoint.opening``. An index asks ``exact_name``: loading torch and
open_clip takes longer than bringing an index up to date in which nothing changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from core.spec.config import expand_user, read_config, split_run
from core.spec.errors import UserError, nearest
from core.spec.paths import is_file
from core.spec.reading import KILOBYTE, MEGABYTE, UnreadableError, excerpt, read_bytes, read_json
from core.spec.run.folder import RunDir

OPEN_CLIP = "open_clip:"
INTERPOLATED = "interpolated:"
OPEN_CLIP_CONFIG = "open_clip_config.json"  # in a folder as open_clip saves a model
HUGGING_FACE_CONFIG = "config.json"  # in a folder as transformers saves one; a run has such a file too
LARGEST_CONFIG = 4 * MEGABYTE
NETWORKS = ("student", "teacher")
_DEFAULT = ("", "auto")  # the network that `default_network` chooses
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
        raise _no_checkpoint(run)
    if which in ("best", "last"):
        pointed = pointer(run, which)
        return pointed if pointed in found else found[-1]
    name = CHECKPOINT.format(int(which)) if which.isdecimal() and len(which) < 20 else which
    if name not in found:
        there = ", ".join((*found[:10], *(["…"] if len(found) > 10 else [])))
        raise CheckpointError(f"{run.path} has no checkpoint {excerpt(which)!r}; there are best, last, {there}.")
    return name


def _no_checkpoint(run: RunDir) -> CheckpointError:
    return CheckpointError(f"{run.path} has no checkpoint yet; train it for longer, or save more often.")


def pointer(run: RunDir, which: str) -> str:
    """The checkpoint that "best" or "last" points to; "" when none."""
    try:
        return read_bytes(run.checkpoints / which, KILOBYTE, root=run.path).decode("ascii").strip()
    except (OSError, UnreadableError, UnicodeDecodeError):
        return ""


def weights_in(run: RunDir, name: str) -> list[str]:
    """The networks that a checkpoint holds: "student" and, where it was trained with one, "teacher"."""
    return [part for part in NETWORKS if (run.checkpoints / name / f"{part}.safetensors").exists()]


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
    except (OSError, CheckpointError):  # opening the checkpoint raises with the reason
        return ""
    return str(record.get("network", "")) if isinstance(record, dict) else ""


@dataclass(frozen=True)
class RunNetwork:
    """One network of a run's checkpoint."""

    run: RunDir
    checkpoint: str  # its name
    network: str  # "student" or "teacher"

    @property
    def path(self) -> Path:
        """The file of its weights."""
        return self.run.checkpoints / self.checkpoint / f"{self.network}.safetensors"

    @property
    def name(self) -> str:
        """A model's name that stays true when the run has a better checkpoint."""
        return f"{self.run.path}@{self.checkpoint}"


@dataclass(frozen=True)
class OpenClipModel:
    """A model of open_clip's: an architecture or a folder that holds one, and its weights ("" for random ones)."""

    architecture: str
    pretrained: str


@dataclass(frozen=True)
class InterpolatedModel:
    """Weights between two models of one architecture: ``alpha`` of ``tuned``, the rest of ``initial``."""

    tuned: RunNetwork
    initial: RunNetwork | OpenClipModel
    alpha: float

    @property
    def name(self) -> str:
        """A model's name that stays true when a run has a better checkpoint."""
        initial = self.initial
        if isinstance(initial, RunNetwork):
            named = str(initial.path.absolute())
        else:
            named = f"{OPEN_CLIP}{initial.architecture},{initial.pretrained}"
        return f"{INTERPOLATED}{self.tuned.path.absolute()};{named}@{self.alpha:g}"


def tuned_of(source: RunNetwork | OpenClipModel | InterpolatedModel) -> RunNetwork | OpenClipModel:
    """The tuned end of interpolated weights, which has their architecture and history; any other source itself."""
    return source.tuned if isinstance(source, InterpolatedModel) else source


def locate(name: str, weights: str = "") -> RunNetwork | OpenClipModel | InterpolatedModel:
    """What the model's name ``name`` stands for now; every use of a model asks here.

    ``name`` is a run folder (its best checkpoint), ``RUN@STEP`` (also ``@best``, ``@last`` or a checkpoint's name), a
    checkpoint's folder, ``open_clip:NAME[,PRETRAINED]``, or a folder as open_clip or transformers saves one
    (``open_clip_config.json``, or a CLIPModel's ``config.json``, and weights); or ``interpolated:RUN[;MODEL]@ALPHA``,
    which is ALPHA of a run and the rest of the model that it started from, or of another one. ``weights`` is "student",
    "teacher" or, as ``default_network`` chooses, "auto" or "".

    Raises UserError when there is no such model, checkpoint or network.
    """
    if name.startswith(INTERPOLATED):
        return _interpolated(name, weights)
    named = _open_clip(name)
    if named is not None:
        if weights not in _DEFAULT:
            raise UserError(f"{name} has one network, no student and teacher; leave out --weights {weights}.")
        return named
    found = locate_run(name, weights)
    if found is None:
        if split := split_run(name):
            raise _no_checkpoint(RunDir(split[0]))
        raise UserError(
            f"there is no model {name!r}; give a run folder, RUN@STEP, or {OPEN_CLIP}NAME[,PRETRAINED] "
            f"such as {OPEN_CLIP}ViT-B-32,openai."
        )
    return found


def _interpolated(name: str, weights: str) -> InterpolatedModel:
    both, at, share = name.removeprefix(INTERPOLATED).rpartition("@")
    tuned, _, other = both.partition(";")
    try:
        alpha = float(share) if at else math.nan
    except ValueError:
        alpha = math.nan
    if not 0.0 <= alpha <= 1.0:
        raise UserError(f"{excerpt(name)} ends with no share from 0 to 1; write {INTERPOLATED}RUN@0.7.")
    run = locate_run(tuned, weights)
    if run is None:
        raise UserError(f"there is no run {excerpt(tuned)!r} to interpolate; write {INTERPOLATED}RUN@{alpha:g}.")
    initial = locate(other) if other else initial_of(run)
    if isinstance(initial, InterpolatedModel):
        raise UserError(f"{excerpt(other)} is interpolated itself; name a run, a folder or an {OPEN_CLIP} model.")
    return InterpolatedModel(run, initial, alpha)


def initial_of(run: RunNetwork) -> RunNetwork | OpenClipModel:
    """The model that ``run`` started from. Raises UserError when it started from scratch, or that is gone."""
    config = read_config(run.run.config)
    pretrained = config.towers.pretrained
    if not pretrained:
        raise UserError(
            f"{run.run.path} was trained from scratch, so there are no initial weights to interpolate with; name a "
            f"model of its architecture: {INTERPOLATED}{run.run.path};MODEL@0.5."
        )
    return locate_run(pretrained, config.towers.weights) or OpenClipModel(config.towers.architecture, pretrained)


def _open_clip(name: str) -> OpenClipModel | None:
    path = expand_user(name)
    if is_saved_model(path):
        return OpenClipModel(str(path), str(path))
    if not name.startswith(OPEN_CLIP):
        return None
    architecture, _, pretrained = name.removeprefix(OPEN_CLIP).partition(",")
    return OpenClipModel(architecture.strip(), pretrained.strip())


def is_saved_model(folder: Path) -> bool:
    """Whether ``folder`` holds a model as open_clip or transformers (a CLIPModel) saves one."""
    if is_file(folder / OPEN_CLIP_CONFIG):
        return True
    try:
        config = read_json(folder / HUGGING_FACE_CONFIG, LARGEST_CONFIG)
    except (OSError, UserError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "clip" and "vision_config" in config


def locate_run(name: str, weights: str = "") -> RunNetwork | None:
    """The network of a run that ``name`` stands for: a run as for ``locate``, or the file of a network's weights.

    None where it names neither such a file nor a folder with checkpoints. Raises UserError when the run has no such
    checkpoint or network.
    """
    if file := _weights_file(expand_user(name)):
        return file
    split = split_run(name)
    if split is None:
        return None
    if weights not in (*_DEFAULT, *NETWORKS):
        near = nearest(weights, NETWORKS, cutoff=0.5) or NETWORKS
        raise UserError(f"a run has no network '{excerpt(weights)}'; did you mean {' or '.join(near)}?")
    run, which = RunDir(split[0]), split[1] or "best"
    if not split[1] and _is_checkpoint(split[0]):
        run, which = RunDir(split[0].parent.parent), split[0].name
    if not run.checkpoints.is_dir():
        return None
    checkpoint = resolve(run, which)
    if weights in _DEFAULT:
        return RunNetwork(run, checkpoint, default_network(run, which))
    if weights not in weights_in(run, checkpoint):
        raise UserError(f"{run.path} was trained without a {weights}; choose the student's weights.")
    return RunNetwork(run, checkpoint, weights)


def _weights_file(path: Path) -> RunNetwork | None:
    if path.stem not in NETWORKS or path.suffix != ".safetensors" or not _is_checkpoint(path.parent):
        return None
    return RunNetwork(RunDir(path.parents[2]), path.parent.name, path.stem) if path.is_file() else None


def _is_checkpoint(folder: Path) -> bool:
    # os.path's, since Path's raises for a name too long
    return folder.parent.name == "checkpoints" and is_file(folder / "checkpoint.json")


def exact_name(name: str, weights: str = "") -> tuple[str, str]:
    """A model's name that stays true: a run's "best" becomes the checkpoint that it is now; and which weights.

    Raises UserError as ``locate`` does.
    """
    if name.startswith(INTERPOLATED):
        both = _interpolated(name, weights)
        return both.name, both.tuned.network
    named = _open_clip(name)
    if named is not None:
        return (name.strip() if name.startswith(OPEN_CLIP) else str(Path(named.architecture).absolute())), ""
    if split_run(name) is None:
        return name, weights  # `open_model` will say that there is none
    found = locate(name, weights)
    assert isinstance(found, RunNetwork)
    return f"{found.run.path.absolute()}@{found.checkpoint}", found.network
