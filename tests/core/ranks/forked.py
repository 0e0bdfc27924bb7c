"""Ranks as forked processes, which start in a fraction of a second because torch is already loaded."""

from __future__ import annotations

import multiprocessing
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from core.ranks.environment import Launch
from core.ranks.launch import open_group
from core.ranks.messages import Messages
from core.ranks.tensors import on_host
from core.spec.config import RunConfig
from core.spec.run.events import EventWriter
from core.spec.run.folder import RunDir
from core.training.loop import Loop
from core.training.over_ranks import _NoEvents
from core.training.progress import Heartbeat
from core.training.team.team import ALONE, Team

T = TypeVar("T")
PATIENCE = 120.0


def over_ranks(size: int, call: Callable[[Team], T]) -> list[T]:
    """The results of ``call`` on each of ``size`` ranks; fails with the traceback of a rank that fails."""
    store = dist.TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("fork")
    started = []
    for rank in range(size):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_rank, args=(rank, size, store.port, call, theirs), daemon=True)
        process.start()
        theirs.close()
        started.append((process, ours))
    answers: list[Any] = []
    for rank, (process, pipe) in enumerate(started):
        try:
            answers.append(pipe.recv() if pipe.poll(PATIENCE) else "no answer")
        except EOFError:
            answers.append(f"rank {rank} died")
        process.join(10)
        process.kill()
    failed = [one for one in answers if isinstance(one, str)]
    assert not failed, "\n".join(failed)
    return [value for (value,) in answers]


def _rank(rank: int, size: int, port: int, call: Callable[[Team], Any], pipe: Connection) -> None:
    try:
        torch.set_num_threads(1)
        store = dist.TCPStore("127.0.0.1", port, None, is_master=False)
        launch = Launch(rank, size, rank, size)
        messages = Messages(store, rank, size)
        open_group(launch, messages, torch.device("cpu"), PATIENCE / 2)
        pipe.send((call(Team(launch, messages)),))
        dist.destroy_process_group()
    except BaseException:  # noqa: BLE001  (sent to the test)
        pipe.send(f"rank {rank}: {traceback.format_exc()}")


@contextmanager
def opened(config: RunConfig, folder: Path, team: Team = ALONE) -> Iterator[Loop]:
    """The training loop of this rank."""
    run = RunDir(folder)
    if team.is_leader:
        run.create()
    events = EventWriter(run.events) if team.is_leader else _NoEvents()
    heartbeat = Heartbeat(run, quiet=True, writes=team.is_leader)
    try:
        yield Loop(config, run, events, heartbeat, threading.Event(), team)
    finally:
        events.close()


def steps_of(loop: Loop, count: int) -> list[dict[str, float]]:
    """The reports of the next ``count`` steps."""
    reports = []
    for batch in loop.parts.loader.batches(loop.step, min(loop.total_steps, loop.step + count)):
        report = loop.train_step(batch)
        reports.append(
            {name: float(value) for name, value in loop.team.average(report).items()}
            | {"rows": float(batch.rows.sum())}
        )
    return reports


def weights_of(loop: Loop) -> dict[str, Any]:
    """The full weights of student and teacher, as arrays (tensors would be sent by reference)."""
    found = on_host(loop.network.state_dict(), keep=True)
    if loop.teacher is not None:
        found |= {f"teacher.{name}": value for name, value in on_host(loop.teacher.state_dict(), keep=True).items()}
    return {name: value.numpy().copy() for name, value in found.items()}
