"""Resolves the name of a model to the network that it currently denotes, from files alone. No torch.

Flow: commands and panels -> ``locate`` -> ``core.checkpoint.opening``. An index calls ``exact_name``, since loading
torch and open_clip would take longer than updating an unchanged index.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.spec.config import expand_user, read_config, split_run
from core.spec.errors import UserError, nearest
from core.spec.paths import is_file
from core.spec.reading import KILOBYTE, MEGABYTE, UnreadableError, excerpt, read_bytes, read_json
from core.spec.resources import resource_folder
from core.spec.run.folder import RunDir

OPEN_CLIP = "open_clip:"
INTERPOLATED = "interpolated:"
OPEN_CLIP_CONFIG = "open_clip_config.json"  # marks a folder that open_clip saved
HUGGING_FACE_CONFIG = "config.json"  # in a folder that transformers saved; a run has a file of this name too
MAX_CONFIG_BYTES = 4 * MEGABYTE
NETWORKS = ("student", "teacher")
_DEFAULT = ("", "auto")  # choose the network by `default_network`
CHECKPOINT = "step-{:08d}"  # name of a checkpoint
_CHECKPOINT_NAME = re.compile("step-[0-9]{1,18}")
_MAX_RECORD_BYTES = 64 * MEGABYTE  # largest checkpoint.json that is read


class CheckpointError(UserError):
    """A checkpoint that cannot be written or read; the message names the checkpoint and the remedy."""


def checkpoint_names(run: RunDir) -> list[str]:
    """The names of all complete checkpoints of ``run``, oldest first. A user's copies with other names do not count."""
    if not run.checkpoints.is_dir():
        return []
    names = (path.parent.name for path in run.checkpoints.glob("step-*/checkpoint.json"))
    return sorted(filter(_CHECKPOINT_NAME.fullmatch, names), key=lambda name: int(name.removeprefix("step-")))


def resolve(run: RunDir, wanted_name: str) -> str:
    """The checkpoint called ``wanted_name``: "best" (the last if none was validated), "last", a step or a name.

    Raises CheckpointError, listing the existing checkpoints.
    """
    existing = checkpoint_names(run)
    if not existing:
        raise _no_checkpoint(run)
    if wanted_name in ("best", "last"):
        target = pointer(run, wanted_name)
        return target if target in existing else existing[-1]
    name = CHECKPOINT.format(int(wanted_name)) if wanted_name.isdecimal() and len(wanted_name) < 20 else wanted_name
    if name not in existing:
        checkpoint_list = ", ".join((*existing[:10], *(["…"] if len(existing) > 10 else [])))
        raise CheckpointError(
            f"{run.path} has no checkpoint {excerpt(wanted_name)!r}; available: best, last, {checkpoint_list}."
        )
    return name


def _no_checkpoint(run: RunDir) -> CheckpointError:
    return CheckpointError(f"{run.path} has no checkpoint yet; train it for longer, or save more often.")


def pointer(run: RunDir, kind: str) -> str:
    """The name of the checkpoint that "best" or "last" points to, or ""."""
    try:
        return read_bytes(run.checkpoints / kind, KILOBYTE, root=run.path).decode("ascii").strip()
    except (OSError, UnreadableError, UnicodeDecodeError):
        return ""


def networks_in(run: RunDir, name: str) -> list[str]:
    """The networks in a checkpoint: "student" and, if the run has a teacher, "teacher"."""
    return [part for part in NETWORKS if (run.checkpoints / name / f"{part}.safetensors").exists()]


def default_network(run: RunDir, wanted_name: str) -> str:
    """The default network of checkpoint ``wanted_name``.

    For "best", this is the network with the best score. For other checkpoints, or if the score is not recorded, it is
    the teacher if the run has one. Raises CheckpointError as `resolve` does.
    """
    name = resolve(run, wanted_name)
    available = networks_in(run, name)
    if wanted_name == "best" and (winner := _winner(run, name)) in available:
        return winner
    return "teacher" if "teacher" in available else "student"


def _winner(run: RunDir, name: str) -> str:
    """The network with the better validation according to ``checkpoint.json``, or ""."""
    try:
        record = read_json(run.checkpoints / name / "checkpoint.json", _MAX_RECORD_BYTES, error=CheckpointError)
    except (OSError, CheckpointError):  # opening the checkpoint will raise
        return ""
    return str(record.get("network", "")) if isinstance(record, dict) else ""


@dataclass(frozen=True)
class RunNetwork:
    """One network of a run's checkpoint."""

    run: RunDir
    checkpoint: str  # name of the checkpoint
    network: str  # "student" or "teacher"

    @property
    def path(self) -> Path:
        """The file with the network's weights."""
        return self.run.checkpoints / self.checkpoint / f"{self.network}.safetensors"

    @property
    def name(self) -> str:
        """A model name that denotes this checkpoint even after the run has a better one."""
        return f"{self.run.path}@{self.checkpoint}"


@dataclass(frozen=True)
class OpenClipModel:
    """An open_clip model: an architecture or a folder, and its weights ("" for random weights)."""

    architecture: str
    pretrained: str


@dataclass(frozen=True)
class InterpolatedModel:
    """Interpolated weights of two models of one architecture: ``alpha * tuned + (1 - alpha) * initial``."""

    tuned: RunNetwork
    initial: RunNetwork | OpenClipModel
    alpha: float
    initial_is_from_config: bool = False  # the user did not name ``initial``, so it must not be downloaded

    @property
    def name(self) -> str:
        """A model name that denotes these weights even after the run has a better checkpoint."""
        initial = self.initial
        if isinstance(initial, RunNetwork):
            initial_name = str(initial.path.absolute())
        elif self.initial_is_from_config:
            initial_name = ""
        else:
            initial_name = f"{OPEN_CLIP}{initial.architecture},{initial.pretrained}"
        tuned_name = f"{self.tuned.run.path.absolute()}@{self.tuned.checkpoint}"
        return str(InterpolatedName(tuned_name, initial_name, self.alpha))


class InterpolatedName(NamedTuple):
    """The parts of ``interpolated:RUN[;MODEL]@ALPHA``; ``str`` joins them."""

    tuned: str
    initial: str  # "" for the model that training started from
    alpha: float

    def __str__(self) -> str:
        initial = f";{self.initial}" if self.initial else ""
        return f"{INTERPOLATED}{self.tuned}{initial}@{self.alpha:g}"


def parse_interpolated(name: str) -> InterpolatedName | None:
    """Parse an interpolated model's name; None for any other name, and for an alpha outside 0 to 1."""
    models, separator, alpha_text = name.removeprefix(INTERPOLATED).rpartition("@")
    tuned, _, initial = models.partition(";")
    try:
        alpha = float(alpha_text) if separator and name.startswith(INTERPOLATED) else math.nan
    except ValueError:
        return None
    return InterpolatedName(tuned, initial, alpha) if 0.0 <= alpha <= 1.0 else None


def tuned_name(name: str) -> str:
    """The name of the tuned model if ``name`` is an interpolated model, otherwise ``name``."""
    parsed = parse_interpolated(name)
    return parsed.tuned if parsed is not None else name


def run_and_checkpoint(name: str) -> tuple[str, str]:
    """Split ``FOLDER@CHECKPOINT`` (also in interpolated models) into FOLDER ("" if there is no @) and CHECKPOINT.

    A checkpoint's full name, such as ``step-00000030``, is shortened to the step, ``30``.
    """
    folder, _, checkpoint = tuned_name(name).rpartition("@")
    digits = checkpoint.removeprefix("step-")
    return folder, str(int(digits)) if digits.isdecimal() and len(digits) < 20 else checkpoint


def tuned_of(source: RunNetwork | OpenClipModel | InterpolatedModel) -> RunNetwork | OpenClipModel:
    """The tuned model if ``source`` is an interpolated model, otherwise ``source``."""
    return source.tuned if isinstance(source, InterpolatedModel) else source


def locate(name: str, weights: str = "") -> RunNetwork | OpenClipModel | InterpolatedModel:
    """The model that ``name`` currently denotes.

    ``name`` is a run folder (its best checkpoint), ``RUN@STEP`` (also ``@best``, ``@last`` or a checkpoint's name), a
    checkpoint's folder, ``open_clip:NAME[,PRETRAINED]``, a folder saved by open_clip or transformers
    (``open_clip_config.json``, or a CLIPModel's ``config.json``, and weights), or ``interpolated:RUN[;MODEL]@ALPHA``:
    ALPHA times a run plus 1 - ALPHA times its initial model, or MODEL. ``weights`` is "student", "teacher", or "auto"
    or "" for ``default_network``.

    Raises UserError if there is no such model, checkpoint or network.
    """
    if name.startswith(INTERPOLATED):
        return _locate_interpolated(name, weights)
    if not name.strip():
        raise UserError(f"the model's name is empty; specify a run folder, RUN@STEP, or {OPEN_CLIP}NAME[,PRETRAINED].")
    open_clip_model = _open_clip(name)
    if open_clip_model is not None:
        if weights not in _DEFAULT:
            raise UserError(f"{name} has only one network; leave out --weights {weights}.")
        return open_clip_model
    run_network = locate_run(name, weights)
    if run_network is None:
        if split := split_run(name):
            raise _no_checkpoint(RunDir(split[0]))
        raise UserError(
            f"there is no model {name!r}; specify a run folder, RUN@STEP, or {OPEN_CLIP}NAME[,PRETRAINED], such as "
            f"{OPEN_CLIP}ViT-B-32,openai."
        )
    return run_network


def _locate_interpolated(name: str, weights: str) -> InterpolatedModel:
    parsed = parse_interpolated(name)
    if parsed is None:
        raise UserError(f"{excerpt(name)} does not end with a number from 0 to 1; write {INTERPOLATED}RUN@0.7.")
    tuned, initial_name, alpha = parsed
    run = locate_run(tuned, weights)
    if run is None:
        raise UserError(f"there is no run {excerpt(tuned)!r} to interpolate; write {INTERPOLATED}RUN@{alpha:g}.")
    if initial_name.startswith(INTERPOLATED):
        raise UserError(
            f"{excerpt(initial_name)} is an interpolated model; specify a run, a folder or an {OPEN_CLIP} model."
        )
    initial = locate(initial_name) if initial_name else initial_of(run)
    assert not isinstance(initial, InterpolatedModel)
    return InterpolatedModel(run, initial, alpha, initial_is_from_config=not initial_name)


def initial_of(run: RunNetwork) -> RunNetwork | OpenClipModel:
    """The model that ``run`` started from. Raises UserError if it was trained from scratch or the model is missing."""
    config = read_config(run.run.config)
    pretrained = config.towers.pretrained
    if not pretrained:
        raise UserError(
            f"{run.run.path} was trained from scratch, so there are no initial weights to interpolate with; specify a "
            f"model of the same architecture: {INTERPOLATED}{run.run.path};MODEL@0.5."
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
    """Whether ``folder`` contains a model that was saved by open_clip or transformers (a CLIPModel)."""
    if is_file(folder / OPEN_CLIP_CONFIG):
        return True
    try:
        config = read_json(folder / HUGGING_FACE_CONFIG, MAX_CONFIG_BYTES)
    except (OSError, UserError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "clip" and "vision_config" in config


def default_prompts(name: str) -> str:
    """The bundled prompt set that suits the captions that a model was trained on: "photo" for captions from the web.

    These are the models of open_clip, and those trained from them. Other runs, and exports of them, have "name".
    """
    try:
        source = tuned_of(locate(name))
        folder = source.run.path if isinstance(source, RunNetwork) else Path(source.pretrained)
        config = read_json(folder / "config.json", MAX_CONFIG_BYTES)
    except (OSError, UserError):
        return "photo"
    towers = config.get("towers") if isinstance(config, dict) else None
    if not isinstance(towers, dict):  # the folder of another program
        return "photo"
    is_own_architecture = is_file(resource_folder("architectures") / f"{towers.get('architecture')}.json")
    return "photo" if towers.get("pretrained") and not is_own_architecture else "name"


def locate_run(name: str, weights: str = "") -> RunNetwork | None:
    """The network of a run that ``name`` denotes: a run as in ``locate``, or the file with a network's weights.

    None if ``name`` is neither such a file nor a folder with checkpoints. Raises UserError if the run has no such
    checkpoint or network.
    """
    if file := _weights_file(expand_user(name)):
        return file
    split = split_run(name)
    if split is None:
        return None
    if weights not in (*_DEFAULT, *NETWORKS):
        suggestions = nearest(weights, NETWORKS, cutoff=0.5) or NETWORKS
        raise UserError(f"a run has no network '{excerpt(weights)}'; did you mean {' or '.join(suggestions)}?")
    run, wanted_name = RunDir(split[0]), split[1] or "best"
    if not split[1] and _is_checkpoint(split[0]):
        run, wanted_name = RunDir(split[0].parent.parent), split[0].name
    if not run.checkpoints.is_dir():
        return None
    checkpoint = resolve(run, wanted_name)
    if weights in _DEFAULT:
        return RunNetwork(run, checkpoint, default_network(run, wanted_name))
    if weights not in networks_in(run, checkpoint):
        raise UserError(f"{run.path} was trained without a {weights}; choose the student's weights.")
    return RunNetwork(run, checkpoint, weights)


def _weights_file(path: Path) -> RunNetwork | None:
    if path.stem not in NETWORKS or path.suffix != ".safetensors" or not _is_checkpoint(path.parent):
        return None
    return RunNetwork(RunDir(path.parents[2]), path.parent.name, path.stem) if path.is_file() else None


def _is_checkpoint(folder: Path) -> bool:
    # core.spec.paths.is_file, since Path.is_file raises for a name that is too long
    return folder.parent.name == "checkpoints" and is_file(folder / "checkpoint.json")


def exact_name(name: str, weights: str = "") -> tuple[str, str]:
    """A model name with the current checkpoint in place of "best", and the network. Raises the errors of ``locate``."""
    if name.startswith(INTERPOLATED):
        interpolated = _locate_interpolated(name, weights)
        return interpolated.name, interpolated.tuned.network
    open_clip_model = _open_clip(name)
    if open_clip_model is not None:
        return (name.strip() if name.startswith(OPEN_CLIP) else str(Path(open_clip_model.architecture).absolute())), ""
    if split_run(name) is None:
        return name, weights  # `open_model` will raise
    run_network = locate(name, weights)
    assert isinstance(run_network, RunNetwork)
    return f"{run_network.run.path.absolute()}@{run_network.checkpoint}", run_network.network
