"""How the processes of a run find each other: torchrun's environment in, a process group out.

Flow: ``python -m core train`` asks ``core.ranks.environment`` which process it is; with a launch of several it joins
them with ``joined`` before anything else, so that whatever goes wrong later is said once, by rank 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # it is documented, and not listed
from torch.distributed.rendezvous import rendezvous

from core.ranks.environment import Launch, LaunchError
from core.ranks.messages import Gone, Messages
from core.spec.reading import excerpt

MEETING_SECONDS = 25  # for all processes to come


def device_of(launch: Launch, wanted: str) -> torch.device:
    """The device of this process for ``runtime.device``: a GPU of its own, or the CPU.

    LaunchError when there are more processes on this host than GPUs.
    """
    if wanted in ("cpu", "mps") or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if launch.local_rank >= there:
        raise LaunchError(
            f"{launch.host} has {there} GPUs and was given {launch.local_size} processes, one for each GPU (NCCL); "
            f"start torchrun with --nproc-per-node={there}, or set runtime.device to cpu."
            if there
            else f"runtime.device is {wanted}, and {launch.host} has no GPU for NCCL; set it to cpu or auto."
        )
    return torch.device("cuda", launch.local_rank)


@contextmanager
def joined(launch: Launch) -> Iterator[Messages]:
    """While entered, this process can exchange messages with the others of its run.

    LaunchError when they do not all come within ``MEETING_SECONDS``, or the port is in use.
    """
    try:
        (store, _, _) = next(iter(rendezvous("env://", timeout=timedelta(seconds=MEETING_SECONDS))))
        store.set_timeout(timedelta(seconds=MEETING_SECONDS))
        messages = Messages(PrefixStore(f"sdgui-{launch.restart}", store), launch.rank, launch.size)
        messages.exchange("here", launch.host, MEETING_SECONDS)
    except (Gone, RuntimeError, ValueError, OSError, TimeoutError) as error:
        raise LaunchError(_why_not_met(launch, error)) from error
    yield messages
    if dist.is_initialized():  # after a failure it would wait for ranks that are gone
        with suppress(RuntimeError):
            dist.destroy_process_group()


def open_group(launch: Launch, messages: Messages, device: torch.device, seconds: float) -> None:
    """Open torch's process group; whoever waits for another longer than ``seconds`` ends with an error."""
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
            f"the {launch.size} processes cannot talk to each other ({excerpt(' '.join(str(error).split()), 200)}); "
            "see that the hosts reach each other, and name the network in GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME."
        ) from error


def _why_not_met(launch: Launch, error: Exception) -> str:
    where = f"{os.environ.get('MASTER_ADDR', 'no address')}:{os.environ.get('MASTER_PORT', 'no port')}"
    said = " ".join(str(error).split())
    if "EADDRINUSE" in said or "address already in use" in said.lower():
        return f"the port of {where} is in use by another program; choose another (torchrun --master-port)."
    return (
        f"the {launch.size} processes of this run did not meet at {where} within {MEETING_SECONDS} s "
        f"({excerpt(said, 120)}); see that each of them was started, and that the hosts reach each other."
    )
