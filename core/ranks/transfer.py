"""Copies tensors from host to device asynchronously.

Flow: batches, random draws of objectives and views, and row indices for collectives are transferred with ``to_device``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy ``tensor`` to ``device``; copies from host memory to a GPU are asynchronous.

    The copy uses pinned memory, since from pageable memory the driver would first synchronise.
    """
    if tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
