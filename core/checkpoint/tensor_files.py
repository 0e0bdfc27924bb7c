"""The files of a checkpoint as they are read: regular, in their run folder, of bounded size, and true to each other.

Flow: ``core.checkpoint.files`` and ``core.checkpoint.opening`` read a checkpoint that may come from anywhere through
here. ``checkpoint.json`` says what network the weights are of; it may claim one of any size, and building it would
take the memory before the weights refused to fit. So what it claims is counted first, on a device that holds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, excerpt, open_regular, read_json
from core.spec.run.model_names import CheckpointError

LARGEST_INFO = 4 * MEGABYTE  # of checkpoint.json; 20,000 classes have 1
_SIDES = ("image_size", "context_length")
LARGEST_SIDE = 4096  # of pictures, and the longest caption: not saved, so that no weights vouch for them
_ABOVE_ZERO = ("width", "layers", "heads", "head_width", "patch_size", "mlp_ratio", "vocab_size", *_SIDES)
_TOWERS = ("vision_cfg", "text_cfg", "multimodal_cfg")
_UNBUILDABLE = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError, RuntimeError)


def read_info_file(path: Path, root: Path) -> dict[str, Any]:
    """What ``checkpoint.json`` holds, as plain data; CheckpointError when it is damaged or no file of ``root``."""
    try:
        raw = read_json(path, LARGEST_INFO, root=root, error=CheckpointError)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is not there; choose another checkpoint.") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: {error} Choose another checkpoint.") from error
    if not isinstance(raw, dict):
        raise CheckpointError(
            f"{path} is damaged: it is not an object but {excerpt(raw, 60)}; choose another checkpoint."
        )
    return raw


def read_tensors(path: Path, root: Path, device: torch.device) -> dict[str, Tensor]:
    """The tensors of a safetensors file; CheckpointError when it is damaged or no regular file of ``root``."""
    try:
        open_regular(path, root=root, error=CheckpointError).close()
        return load_file(path, device=str(device))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {excerpt(str(error))}; choose another checkpoint.") from error


def tensor_shapes(path: Path, root: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file's tensors, from its header; raises as `read_tensors` does."""
    try:
        open_regular(path, root=root, error=CheckpointError).close()
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (safe_open does not iterate)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {excerpt(str(error))}; choose another checkpoint.") from error


def check_claims(
    build: Callable[[], nn.Module], model: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], origin: str
) -> None:
    """Refuse to ``build`` a network of more layers or parameters than the weights have.

    ``model``: the open_clip configuration that it is built from. CheckpointError naming ``origin``, also when it
    cannot be built.
    """
    if wrong := _wrong_architecture(model, shapes):
        raise CheckpointError(f"{origin} has an architecture that does not match its weights: {wrong}; choose another.")
    try:
        with torch.device("meta"):  # has shapes, but no memory
            claimed = sum(value.numel() for value in build().state_dict().values())
    except UserError:
        raise
    except _UNBUILDABLE as error:
        what = f"{type(error).__name__}: {excerpt(str(error))}"
        raise CheckpointError(f"{origin} has an architecture that cannot be built ({what}); choose another.") from error
    there = sum(math.prod(shape) for shape in shapes.values())
    if claimed > 2 * there + 1000:
        raise CheckpointError(
            f"{origin} does not fit the network of its definition, which has {claimed} parameters and its weights "
            f"{there}; choose another."
        )


def _wrong_architecture(model: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What would take memory even without parameters, or makes empty ones; "" when nothing does."""
    for name in _TOWERS:
        tower = model.get(name, {} if name == "multimodal_cfg" else None)
        if not isinstance(tower, dict):
            return f"{name} is not an object"
        layers = tower.get("layers", 0)
        every = layers if isinstance(layers, list) else [layers]
        if not all(isinstance(one, int) for one in every) or sum(map(abs, every)) > len(shapes):
            return f"{name} has {excerpt(layers, 60)} layers, and there are {len(shapes)} tensors"
        for key in _ABOVE_ZERO:
            value = tower.get(key)
            numbers = value if isinstance(value, list) else [] if value is None else [value]
            if not all(isinstance(one, (int, float)) and one > 0 for one in numbers):
                return f"{name}.{key} is {excerpt(value, 60)}, which is not a number above 0"
            if key in _SIDES and any(one > LARGEST_SIDE for one in numbers):
                return f"{name}.{key} is {excerpt(value, 60)}, and at most {LARGEST_SIDE} is possible"
    return ""
