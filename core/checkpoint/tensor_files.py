"""Reads files of untrusted checkpoints: regular files in their run folder, of bounded size, consistent with each other.

Flow: ``core.checkpoint.files`` and ``core.checkpoint.opening`` read every checkpoint through this module.
``checkpoint.json`` may declare a network of any size, and building it would exhaust the memory before the weights turn
out not to fit. So its parameters are counted first, on the meta device.
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
from core.spec.reading import MEGABYTE, excerpt, open_regular, read_json
from core.spec.run.model_names import CheckpointError

LARGEST_INFO = 4 * MEGABYTE  # of checkpoint.json; 20,000 classes have 1
_TOWERS = ("vision_cfg", "text_cfg", "multimodal_cfg")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # how safetensors words an errno


def read_info_file(path: Path, root: Path) -> dict[str, Any]:
    """``checkpoint.json`` as plain data; CheckpointError when it is damaged or not a file in ``root``."""
    try:
        raw = read_json(path, LARGEST_INFO, root=root, error=CheckpointError)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; choose another checkpoint.") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: {error} Choose another checkpoint.") from error
    if not isinstance(raw, dict):
        raise CheckpointError(
            f"{path} is damaged: it is not an object but {excerpt(raw, 60)}; choose another checkpoint."
        )
    return raw


def read_tensors(path: Path, root: Path, device: torch.device) -> dict[str, Tensor]:
    """The tensors of a safetensors file; CheckpointError when it is damaged or not a regular file in ``root``."""
    try:
        open_regular(path, root=root, error=CheckpointError).close()
        return load_file(path, device=str(device))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {excerpt(str(error))}; choose another checkpoint.") from error


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file with the umask's mode (safetensors itself would leave 0600).

    Raises OSError, also for a full disk, which safetensors reports as another error.
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
    """Names and shapes of a safetensors file's tensors, from its header; raises as `read_tensors` does."""
    try:
        open_regular(path, root=root, error=CheckpointError).close()
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (safe_open does not iterate)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {excerpt(str(error))}; choose another checkpoint.") from error


def check_claims(
    build: Callable[[], Network], model: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], origin: str
) -> None:
    """Raise CheckpointError naming ``origin`` if ``build``'s network cannot be used, or is larger than its weights.

    ``model``: its open_clip configuration; ``shapes``: of the weights, by name.
    """
    try:
        check_description(model, "its description")
        if problem := _too_many_layers(model, shapes):
            raise CheckpointError(f"{problem}; choose another model.")
        with torch.device("meta"), torch.no_grad():  # shapes without memory
            network = build()
            claimed = sum(value.numel() for value in network.state_dict().values())
            _try_out(network.eval())
    except UserError as error:
        raise CheckpointError(f"{origin} cannot be opened: {error}") from error
    except Exception as error:  # open_clip, timm and transformers raise any type
        reason = f"{type(error).__name__}: {excerpt(str(error))}"
        raise CheckpointError(f"the architecture of {origin} cannot be built ({reason}); choose another.") from error
    stored_values = sum(math.prod(shape) for shape in shapes.values())
    if claimed > 2 * stored_values + 1000:
        raise CheckpointError(
            f"{origin} does not fit the network of its config, which has {claimed} parameters and its weights "
            f"{stored_values}; choose another."
        )


def _too_many_layers(model: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The message for a part that declares more layers than there are tensors, or "". Modules take memory even without
    parameters."""
    for name in _TOWERS:
        layers = model.get(name, {}).get("layers", 0)
        if (sum(layers) if isinstance(layers, list) else layers) > len(shapes):
            return f"{name} has {excerpt(layers, 60)} layers, and there are {len(shapes)} tensors"
    return ""


def _try_out(network: Network) -> None:
    """Encode an image and a caption of zeros. Raises open_clip's errors if settings do not fit each other."""
    towers = network.towers
    image = network.encode_images(torch.zeros(1, 3, network.image_size, network.image_size, dtype=torch.uint8))
    if image.shape != (1, towers.embed_dim):
        raise CheckpointError(f"its image features have shape {tuple(image.shape)}; choose another model.")
    if towers.is_transformers_text:  # needs values, which meta tensors do not have
        return
    text = network.encode_texts(torch.zeros(1, towers.context_length, dtype=torch.long))
    if text.shape != image.shape:
        raise CheckpointError(f"its text features have shape {tuple(text.shape)}; choose another model.")
