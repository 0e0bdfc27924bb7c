"""Batches on the device, copied and augmented while it computes the previous step.

Flow: loader -> ``prefetch`` -> loop. For a CUDA device, copies from pinned memory and device-made views run on a
separate stream, concurrently with the current step. The step's stream waits for them; the host does not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

import torch
from torch import Tensor

from core.data.batch import Batch

ToDevice = Callable[[Batch], Batch]


def prefetch(
    batches: Generator[Batch, None, None], to_device: ToDevice, device: torch.device
) -> Generator[Batch, None, None]:
    """``batches``, copied to ``device`` by ``to_device``. Closing this generator ends the loader."""
    with closing(batches):
        yield from _copy_on_stream(batches, to_device, device) if device.type == "cuda" else map(to_device, batches)


def _copy_on_stream(
    batches: Iterable[Batch], to_device: ToDevice, device: torch.device
) -> Generator[Batch, None, None]:
    copying = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(copying):
            on_device = to_device(batch)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)

        def record_use(tensor: Tensor, stream: torch.cuda.Stream = computing) -> Tensor:
            if tensor.is_cuda:
                tensor.record_stream(stream)  # keeps the tensor's memory until the step has used it
            return tensor

        on_device.map(record_use)
        yield on_device
