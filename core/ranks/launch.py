"""Connects the processes of a run: from torchrun's environment to a process group.

Flow: ``python -m core train`` reads its rank with ``core.ranks.environment``. With several processes it calls
``join_ranks`` first, so that later errors are reported once, by rank 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # documented, but not exported
from torch.distributed.rendezvous import rendezvous

from core.ranks.environment import Launch, LaunchError
from core.ranks.messages import Messages, RankFailed
from core.spec.reading import excerpt

RENDEZVOUS_SECONDS = 25  # how long to wait until all processes have connected


def device_of(launch: Launch, configured: str) -> torch.device:
    """The device of this process for ``runtime.device``: a separate GPU, or the CPU.

    Raises LaunchError if this host has more processes than GPUs.
    """
    if configured in ("cpu", "mps") or (configured == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    gpu_count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if launch.local_rank >= gpu_count:
        raise LaunchError(
            f"{launch.host} has {gpu_count} GPUs but {launch.local_size} processes (NCCL needs one GPU each); "
            f"start torchrun with --nproc-per-node={gpu_count}, or set runtime.device to cpu."
            if gpu_count
            else f"runtime.device is {configured}, but {launch.host} has no GPU for NCCL; set it to cpu or auto."
        )
    return torch.device("cuda", launch.local_rank)


@contextmanager
def join_ranks(launch: Launch) -> Iterator[Messages]:
    """Within this context, the process can exchange messages with the other processes of the run.

    Raises LaunchError if not all arrive within ``RENDEZVOUS_SECONDS``, or the port is in use.
    """
    try:
        (store, _, _) = next(iter(rendezvous("env://", timeout=timedelta(seconds=RENDEZVOUS_SECONDS))))
        store.set_timeout(timedelta(seconds=RENDEZVOUS_SECONDS))
        messages = Messages(PrefixStore(f"sdgui-{launch.restart}", store), launch.rank, launch.size)
        messages.exchange("host", launch.host, RENDEZVOUS_SECONDS)
    except (RankFailed, RuntimeError, ValueError, OSError, TimeoutError) as error:
        raise LaunchError(_rendezvous_error(launch, error)) from error
    yield messages
    # An exception in the context skips this: after a failure, destroying the group would wait for lost ranks.
    if dist.is_initialized():
        with suppress(RuntimeError):
            dist.destroy_process_group()


def open_group(launch: Launch, messages: Messages, device: torch.device, seconds: float) -> None:
    """Open torch's process group. Waiting for another rank longer than ``seconds`` raises an error."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            backend="cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=messages.store("group"),
            rank=launch.rank,
            world_size=launch.size,
            timeout=timedelta(seconds=seconds),
            device_id=device if device.type == "cuda" else None,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise LaunchError(
            f"the {launch.size} processes cannot communicate ({excerpt(' '.join(str(error).split()), 200)}); "
            "check that the hosts can reach each other; set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to their network."
        ) from error


def _rendezvous_error(launch: Launch, error: Exception) -> str:
    address = f"{os.environ.get('MASTER_ADDR', 'no address')}:{os.environ.get('MASTER_PORT', 'no port')}"
    error_text = " ".join(str(error).split())
    if "EADDRINUSE" in error_text or "address already in use" in error_text.lower():
        return f"the port of {address} is in use by another program; choose another with torchrun --master-port."
    return (
        f"the {launch.size} processes of this run did not connect at {address} within {RENDEZVOUS_SECONDS} s "
        f"({excerpt(error_text, 120)}); check that all were started and that the hosts can reach each other."
    )
