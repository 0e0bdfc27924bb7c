"""Reads files of untrusted checkpoints: regular files in their run folder, of bounded size, consistent with each other.

Flow: ``core.checkpoint.files`` and ``core.checkpoint.opening`` read every checkpoint through this module.
``checkpoint.json`` may declare a network of any size, and building such a network could exhaust the memory before its
weights are found not to fit. So ``check_matches_weights`` first counts its parameters on the meta device.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.model.network import Network
from core.model.towers.formats.description import check_description
from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, check_tensor_file, excerpt, read_json
from core.spec.run.model_names import CheckpointError

MAX_INFO_BYTES = 4 * MEGABYTE  # checkpoint.json with 20,000 classes takes 1 MB
_TOWER_SECTIONS = ("vision_cfg", "text_cfg", "multimodal_cfg")
_LOAD_ERRORS = (OSError, SafetensorError, RuntimeError, TypeError, ValueError)  # TypeError: a size above 64 bits
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # safetensors reports an errno in this form


def read_info_file(path: Path, root: Path) -> dict[str, Any]:
    """``checkpoint.json`` as plain data. Raises CheckpointError if it is damaged or not a file in ``root``."""
    try:
        raw = read_json(path, MAX_INFO_BYTES, root=root, error=CheckpointError)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; choose another checkpoint.") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: {error} Choose another checkpoint.") from error
    if not isinstance(raw, dict):
        raise CheckpointError(
            f"{path} is damaged: it contains {excerpt(raw, 60)} instead of an object; choose another checkpoint."
        )
    return raw


def read_tensors(path: Path, root: Path, device: torch.device) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises CheckpointError if it is damaged or not a regular file in ``root``."""
    try:
        check_tensor_file(path, root=root, error=CheckpointError)
        return load_file(path, device=str(device))
    except _LOAD_ERRORS as error:
        raise CheckpointError(f"{path} is damaged: {excerpt(str(error))}; choose another checkpoint.") from error


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file with the mode of the umask (safetensors itself uses 0600).

    Raises OSError, also for a full disk, for which safetensors raises a different error.
    """
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata={"format": "pt"})
    except SafetensorError as error:
        code = _OS_ERROR.search(str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
    path.chmod(mode)


def tensor_shapes(path: Path, root: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a safetensors file's tensors, from its header; raises like `read_tensors`."""
    try:
        check_tensor_file(path, root=root, error=CheckpointError)
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (safe_open does not iterate)
    except _LOAD_ERRORS as error:
        raise CheckpointError(f"{path} is damaged: {excerpt(str(error))}; choose another checkpoint.") from error


def check_matches_weights(
    build: Callable[[], Network], model: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], origin: str
) -> None:
    """Raise CheckpointError if the network that ``build`` returns cannot be used, or is larger than its weights.

    ``model``: the open_clip configuration. ``shapes``: the shapes of the weights, by name. ``origin`` describes the
    checkpoint in the message.
    """
    try:
        check_description(model, "the model configuration")
        if problem := _too_many_layers(model, shapes):
            raise CheckpointError(f"{problem}; choose another model.")
        with torch.device("meta"), torch.no_grad():  # computes shapes without allocating memory
            network = build()
            claimed = sum(value.numel() for value in network.state_dict().values())
            _try_network(network.eval())
    except UserError as error:
        raise CheckpointError(f"{origin} cannot be opened: {error}") from error
    except Exception as error:  # open_clip, timm and transformers raise many types of errors
        reason = f"{type(error).__name__}: {excerpt(str(error))}"
        raise CheckpointError(
            f"the architecture of {origin} cannot be built ({reason}); choose another checkpoint."
        ) from error
    stored_values = sum(math.prod(shape) for shape in shapes.values())
    if claimed > 2 * stored_values + 1000:
        raise CheckpointError(
            f"{origin} does not match its config: the network has {claimed} parameters, but the weights have "
            f"{stored_values}; choose another checkpoint."
        )


def _too_many_layers(model: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """A message if a tower declares more layers than there are tensors; otherwise "".

    Such a tower must not be built, since modules take memory even on the meta device.
    """
    for name in _TOWER_SECTIONS:
        layers = model.get(name, {}).get("layers", 0)
        if (sum(layers) if isinstance(layers, list) else layers) > len(shapes):
            return f"{name} has {excerpt(layers, 60)} layers, but there are only {len(shapes)} tensors"
    return ""


def _try_network(network: Network) -> None:
    """Encode an image and a caption of zeros. Raises open_clip's errors if settings do not fit each other."""
    towers = network.towers
    image = network.encode_images(torch.zeros(1, 3, network.image_size, network.image_size, dtype=torch.uint8))
    if image.shape != (1, towers.embed_dim):
        raise CheckpointError(f"the image features have shape {tuple(image.shape)}; choose another model.")
    if towers.is_transformers_text:  # this tower needs values, which meta tensors do not have
        return
    text = network.encode_texts(torch.zeros(1, towers.context_length, dtype=torch.long))
    if text.shape != image.shape:
        raise CheckpointError(f"the text features have shape {tuple(text.shape)}; choose another model.")
