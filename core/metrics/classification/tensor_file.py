"""Reads untrusted safetensors files safely.

Before a tensor is read, the header's size is limited, the library checks the header against the file's size, and the
caller checks the shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from core.spec.errors import UserError
from core.spec.reading import check_tensor_file, excerpt

CheckHeader = Callable[[Mapping[str, tuple[int, ...]], Mapping[str, str]], None]
"""Called with the shapes and the metadata that a file declares."""


def read_tensors(path: Path, limit: int, check: CheckHeader, error: type[UserError]) -> dict[str, Tensor]:
    """The tensors of a safetensors file of at most ``limit`` bytes.

    ``check`` is called before any tensor is read, and may raise. Raises ``error`` for a damaged file or
    another format, FileNotFoundError for a missing file.
    """
    check_tensor_file(path, error=error, limit=limit)
    try:
        with safe_open(path, framework="pt") as tensors:
            shapes = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118  (safe_open does not iterate)
            check(shapes, tensors.metadata() or {})
            return {name: tensors.get_tensor(name) for name in shapes}
    except (SafetensorError, OSError, RuntimeError, TypeError, ValueError) as problem:
        raise error(
            f"{path} is not a safetensors file, or damaged: {excerpt(str(problem))}. Save it again or use a copy."
        ) from problem
