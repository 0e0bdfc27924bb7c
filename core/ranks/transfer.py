"""From the host to the device, without waiting for it.

Flow: batches, the draws that objectives and views make on the host, and the numbers of rows that ranks exchange go to
the device through ``sent``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``; the copy from the host's memory to a GPU is only queued.

    From pageable memory the driver would first wait for all that is queued: the copy is from pinned memory.
    """
    if tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
