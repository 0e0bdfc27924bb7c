"""Training over several processes: what each rank does from its start to its end.

Flow: ``python -m core train`` under torchrun calls ``train_over_ranks`` in every process. Rank 0 claims the run folder
and records how the run ended; the others compute. A rank that fails leaves word of it; one that is killed leaves none,
and the run is then interrupted: it has no ending in its events, as if it had been killed as a whole.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

import core
from core.custom.loading import CustomCode
from core.ranks.environment import Launch, LaunchError, check_mesh
from core.ranks.launch import device_of, joined, open_group
from core.ranks.messages import Failure
from core.spec.config import RunConfig
from core.spec.errors import UserError
from core.spec.failures import say_error, sentence
from core.spec.run.code import CodeUse, keep_code
from core.spec.run.events import Event, EventWriter, Outcome, RunFailed, RunFinished
from core.spec.run.folder import RunDir
from core.spec.run.processes import own_start_time
from core.training.errors import Interrupt, RankLost, TrainingError
from core.training.loop import Loop
from core.training.progress import Heartbeat
from core.training.team.recording import open_events, prepared, record_failure, record_refusal
from core.training.team.signals import signals_as_requests
from core.training.team.team import Team
from core.training.team.watch import Watch

_WORD_SECONDS = 3.0  # for another rank's word of its failure to come
# What torch's backends say in a RuntimeError when another process does not answer.
_UNANSWERED = ("gloo", "nccl", "connection", "peer", "socket", "timed out", "timeout", "broken pipe", "processgroup")


class _NoEvents(EventWriter):
    """Events of a rank that has no run folder."""

    def __init__(self) -> None:
        """Opens nothing."""

    def write(self, event: Event) -> None:
        """Rank 0 writes it."""

    def sync(self) -> None:
        """There is nothing to sync."""

    def close(self) -> None:
        """There is nothing to close."""


def train_over_ranks(
    launch: Launch, read: Callable[[], RunConfig], run: RunDir, quiet: bool = False, use: CodeUse = "check"
) -> Outcome:
    """Train what ``read`` gives in ``run`` with the other ranks of ``launch``; returns how it ended.

    Raises UserError as ``core.training.train.train`` does, on every rank, and RankLost where one is gone.
    """
    with joined(launch) as messages:
        team = Team(launch, messages)
        config = team.together(read)
        team.same("version of this program or of PyTorch", f"{_program()}, torch {torch.__version__}")
        team.same("config", config.digest())
        try:
            team.together(lambda: check_mesh(launch.size, config.runtime.shard))
            device = team.together(lambda: device_of(launch, config.runtime.device))
        except (LaunchError, TrainingError) as error:
            if team.leads:
                record_refusal(config, run, error)
            raise
        with ExitStack() as held:

            def claimed() -> Outcome | None:
                run.create()
                held.callback(run.claim().release)
                return prepared(config, run)

            if finished := team.by_first(claimed):
                return finished
            peers = messages.exchange("process", [launch.rank, launch.host, os.getpid(), own_start_time()])
            team.secret = team.by_first(lambda: secrets.token_hex(8))
            team.together(lambda: open_group(launch, messages, device, config.runtime.patience))
            return _recorded(config, run, team, peers, quiet, use)


def _program() -> str:
    """Names this program by its source; 12 hex digits."""
    digest = hashlib.sha256()
    root = Path(core.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _recorded(config: RunConfig, run: RunDir, team: Team, peers: list[Any], quiet: bool, use: CodeUse) -> Outcome:
    """Train, and record the outcome on rank 0, whatever it is."""
    assert team.messages is not None
    events = open_events(run) if team.leads else _NoEvents()
    leave = _leaving(events, team)
    here = [(rank, pid, started) for rank, host, pid, started in peers
            if host == team.launch.host and rank != team.launch.rank]  # fmt: skip
    loop: Loop | None = None
    try:
        with (
            signals_as_requests(launched=True) as asked,
            Heartbeat(run, quiet or not team.leads, writes=team.leads) as heartbeat,
            Watch(team.messages, here, leave) as watch,
        ):
            try:
                try:
                    team.by_first(lambda: keep_code(config, run, use))
                    loop = Loop(config, run, events, heartbeat, asked, team, CustomCode(run, started=True))
                    loop.run()
                    outcome: Outcome = "done"
                except Interrupt as interrupt:
                    watch.settled()
                    outcome = interrupt.outcome
                    if loop is not None:
                        loop.leave()
                team.by_first(lambda: _finish(events, loop, outcome))
                return outcome
            except Exception as error:
                raise _ending(error, team, watch) from error
    except Exception as error:
        if team.leads and not isinstance(error, RankLost):
            record_failure(events, loop.step if loop else 0, error)
        raise
    finally:
        if team.leads:
            run.clear_control()
        events.close()


def _finish(events: EventWriter, loop: Loop | None, outcome: Outcome) -> None:
    events.write(RunFinished(step=loop.step if loop else 0, outcome=outcome))
    events.sync()


def _ending(error: Exception, team: Team, watch: Watch) -> Exception:
    """What ended the run, where ``error`` ended this rank: its own failure, another's, or that another is gone."""
    assert team.messages is not None
    if not isinstance(error, RankLost) and not _unanswered(error):
        message = str(error) if isinstance(error, UserError) else sentence(error)
        said = message or f"{type(error).__name__}: {error}"
        kind, trace = type(error).__name__, "".join(traceback.format_exception(error))
        team.messages.report_failure(Failure(team.launch.rank, team.launch.host, kind, said, trace))
        return error
    word = team.messages.failure(_WORD_SECONDS)
    if word is not None and word.rank != team.launch.rank:
        return TrainingError(f"rank {word.rank} on {word.host}: {word.message}")
    gone = watch.lost() or "another rank"
    return RankLost(
        f"{gone} of the {team.size} is gone or does not answer ({_short(error)}); the run is interrupted. Start it "
        "again on the same folder: it goes on from its last checkpoint."
    )


def _unanswered(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _UNANSWERED)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 160 else f"{text[:80]} ... {text[-70:]}"


def _leaving(events: EventWriter, team: Team) -> Callable[[str, Failure | None], None]:
    """Ends this process from the watching thread, whatever the main thread waits for."""

    def leave(why: str, word: Failure | None) -> None:
        if team.leads and word is not None:
            events.write(RunFailed(step=0, error=word.error, message=word.message, traceback=word.traceback))
        if team.leads:
            say_error(word.message if word is not None else f"{why}; the run is interrupted, and can be resumed.")
        sys.stdout.flush()
        os._exit(1)

    return leave
