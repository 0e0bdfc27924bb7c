"""Finds and reads weights for the towers: an open_clip tag, or a local folder or file.

Flow: ``core.checkpoint`` turns a run's name into a file -> ``find_weights`` -> ``read_weights`` ->
``core.model.towers.towers.load_pretrained``. The weights of a tag are first looked up in ``weights_folder``, which
needs no network. ``.bin``, ``.pt`` and ``.pth`` files are read with ``weights_only=True``, so no objects are unpickled.
"""

from __future__ import annotations

import difflib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import open_clip
import platformdirs
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from open_clip.pretrained import get_pretrained_cfg
from safetensors.torch import load_file
from torch import Tensor, nn

from core.model.errors import ModelError
from core.model.towers.downloading import DownloadError, Progress, download
from core.model.towers.formats.huggingface import from_clip_model, is_clip_model_state
from core.spec.config import expand_user
from core.spec.paths import is_file, is_folder
from core.spec.reading import MEGABYTE, check_tensor_file, excerpt, open_regular

PREFERRED_STEMS = (
    "open_clip_model",
    "open_clip_pytorch_model",
    "model",
    "pytorch_model",
    "teacher",
    "student",
)  # in a folder, weights files with these stems are chosen in this order
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
MAX_PICKLE_BYTES = 16 * MEGABYTE  # names and shapes take 0.3 MB for a ViT-L with optimiser state
POSITION_KEYS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")
_HUB = "hf-hub:"  # open_clip's prefix for repositories of the Hugging Face Hub
RUN_PREFIX = "towers.clip."  # precedes open_clip's names in a Network's state dict
# (architecture, tag) -> known weakness; the figure is open_clip's published result.
KNOWN_PROBLEMS = {
    ("coca_ViT-B-32", "mscoco_finetuned_laion2b_s13b_b90k"): (
        "was fine-tuned on COCO for captions: it captions, but cannot search or classify (0.8 % zero-shot on "
        "ImageNet); for these, use laion2b_s13b_b90k."
    ),
}


def known_problem(architecture: str, pretrained: str) -> str:
    """A warning to show before these weights are chosen; "" for most."""
    problem = KNOWN_PROBLEMS.get((architecture, _as_tag(pretrained)))
    return f"{architecture}, {pretrained}, {problem}" if problem else ""


def weights_folder(architecture: str, tag: str) -> Path:
    """The folder that a user without a network may fill with a tag's weights."""
    return platformdirs.user_data_path("sdgui", appauthor=False) / "weights" / f"{architecture}-{tag}"


def published_tag(architecture: str, pretrained: str) -> dict[str, Any]:
    """open_clip's entry for the weights ``pretrained``: location and preprocessing; empty if unknown."""
    tag: dict[str, Any] = get_pretrained_cfg(architecture, _as_tag(pretrained))
    return tag


def _as_tag(pretrained: str) -> str:
    return pretrained.lower().replace("-", "_")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def find_weights(architecture: str, pretrained: str, progress: Progress | None = None) -> Path:
    """The weights file of ``pretrained``; downloaded if it is a tag.

    In a folder with several weights files, those under open_clip's own names are preferred, and the teacher's to the
    student's. Raises ModelError with the available tags, or with the folder to put the weights into if there is no
    network.
    """
    path = expand_user(pretrained)
    if is_file(path):
        return path
    if is_folder(path):
        return _find_in_folder(path)
    if pretrained.startswith(_HUB):
        repository = pretrained.removeprefix(_HUB)
        raise ModelError(
            f"cannot load weights directly from {excerpt(pretrained)}; download them with: hf download "
            f"{excerpt(repository)} --local-dir FOLDER, and set architecture and weights to FOLDER."
        )
    tags: list[str] = open_clip.list_pretrained_tags_by_model(architecture)
    tag = _as_tag(pretrained)
    if tag not in tags:
        close = difflib.get_close_matches(tag[:200], tags, n=3, cutoff=0.4)
        hint = f"choose a tag, such as {', '.join(close or tags[:3])}, or a path" if tags else "choose a path"
        raise ModelError(
            f"'{excerpt(pretrained)}' is neither a file, nor a folder, nor a tag of {architecture}; {hint}."
        )
    local_folder = weights_folder(architecture, tag)
    if local_folder.is_dir():
        return _find_in_folder(local_folder)
    try:
        return download(published_tag(architecture, tag), progress)
    except DownloadError as error:
        raise ModelError(
            f"the weights {tag} of {architecture} could not be downloaded ({error}). Without a network, put "
            f"open_clip_model.safetensors into the folder {local_folder}."
        ) from error


def _find_in_folder(folder: Path) -> Path:
    paths = [path for path in folder.iterdir() if path.suffix in SUFFIXES]
    if not paths:
        raise ModelError(f"the folder {folder} contains no weights; put open_clip_model.safetensors into it.")
    order = {stem: rank for rank, stem in enumerate(PREFERRED_STEMS)}
    return min(paths, key=lambda p: (order.get(p.stem, len(order)), SUFFIXES.index(p.suffix), p.name))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in ``path`` under open_clip's names. Raises ModelError if it is damaged or has other objects."""
    try:
        loaded: Any
        if path.suffix == ".safetensors":
            check_tensor_file(path, error=ModelError)
            loaded = load_file(path)
        else:
            with open_regular(path, error=ModelError) as file:
                _check_archive(file, path)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} contains objects other than tensors, so it was not loaded; convert it to .safetensors."
        ) from error
    except ModelError:
        raise
    # For bytes that are not a pickle, the restricted unpickler raises IndexError, KeyError, TypeError and others.
    except Exception as error:
        raise ModelError(
            f"cannot read the weights {excerpt(str(path))}: {_first_line(error)}; specify a weights file, run or tag."
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} is not a state dict of tensors; specify open_clip weights or a run.")
    if not all(_is_plain(value) for value in state.values()) or (
        sum(value.nbytes for value in state.values()) > 2 * path.stat().st_size
    ):
        raise ModelError(f"the tensors in {path} claim more data than the file has; convert the file to .safetensors.")
    ours = {key.removeprefix(RUN_PREFIX): value for key, value in state.items() if key.startswith(RUN_PREFIX)}
    if is_clip_model_state(state):
        return from_clip_model(state)
    return ours or {key.removeprefix("module."): value for key, value in state.items()}


def _check_archive(file: BinaryIO, path: Path) -> None:
    """Raise ModelError unless ``file`` is an archive like torch.save's.

    It must be uncompressed, so that it needs no more memory than its size, and its pickle must be small and must not
    allocate buffers from a size alone.
    """
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        compressed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        if compressed or sum(part.file_size for part in parts) > size:
            raise ModelError(f"{path} is compressed, unlike PyTorch's own files; convert it to .safetensors.")
        pickles = [part for part in parts if part.filename.endswith(".pkl")]
        if any(part.file_size > MAX_PICKLE_BYTES or b"bytearray" in archive.read(part) for part in pickles):
            raise ModelError(
                f"{path} contains objects other than tensors, so it was not loaded; convert it to .safetensors."
            )


def _is_plain(value: Tensor) -> bool:
    return value.layout is torch.strided and not (value.is_meta or value.is_quantized or value.is_nested)


def fit_weights(clip: nn.Module, state: dict[str, Tensor], origin: Path) -> None:
    """Load ``state`` into ``clip``; like open_clip, resize position embeddings and convert older layouts.

    Raises ModelError with the first missing or mismatched tensor.
    """
    expected = clip.state_dict()
    try:
        state = convert_state_dict(clip, dict(state))
        if "positional_embedding" in state and not hasattr(clip, "positional_embedding"):
            state = convert_to_custom_text_state_dict(state)
        for name in ("logit_scale", "logit_bias"):
            if name in expected:
                state[name] = state[name].reshape(expected[name].shape) if name in state else expected[name]
        state.pop("text.transformer.embeddings.position_ids", None)  # a buffer in older releases of transformers
        if all(
            state[name].shape[1:] == expected[name].shape[1:]
            for name in POSITION_KEYS
            if name in state and name in expected
        ):
            resize_pos_embed(state, clip)  # to the tower's number of positions
            resize_text_pos_embed(state, clip)
    except Exception as error:  # unexpected tensors under open_clip's names
        raise ModelError(f"the weights {origin} are for another architecture: {excerpt(str(error))}.") from error
    missing = sorted(expected.keys() - state.keys())
    mismatched = [key for key, value in expected.items() if key in state and not _fits(state[key], value)]
    if missing or mismatched:
        problem = (
            f"{mismatched[0]} has shape {tuple(state[mismatched[0]].shape)} of {state[mismatched[0]].dtype}"
            if mismatched
            else f"{missing[0]} is missing"
        )
        raise ModelError(
            f"the weights {origin} do not match the architecture: {problem}"
            f" ({len(missing)} missing, {len(mismatched)} mismatched); choose the architecture that was trained."
        )
    clip.load_state_dict({key: state[key] for key in expected})


def _fits(value: Tensor, expected: Tensor) -> bool:
    return value.shape == expected.shape and value.is_floating_point() == expected.is_floating_point()
