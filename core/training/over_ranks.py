"""Distributed training: runs training on each rank, and handles failed and lost ranks.

Flow: ``python -m core train`` under torchrun calls ``train_over_ranks`` in every process. Rank 0 claims the run folder
and records the outcome; the other ranks only train. A failing rank reports its failure. If a rank is killed, the run is
interrupted: its event log has no final event, as if all processes had been killed.
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
from core.ranks.launch import device_of, join_ranks, open_group
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
from core.training.team.recording import disk_full_error, open_events, prepare_run, record_failure, record_refusal
from core.training.team.signals import signals_as_requests
from core.training.team.team import Team
from core.training.team.watch import Watch

_FAILURE_REPORT_TIMEOUT_S = 3.0
# Fragments of the RuntimeErrors that torch's backends raise when another process does not respond.
_LOST_RANK_MESSAGES = ("gloo", "nccl", "connection", "peer", "socket", "timed out", "timeout", "broken pipe",
                       "processgroup")  # fmt: skip


class _NoEvents(EventWriter):
    """Discards events; used on all ranks except rank 0, which writes the run's events."""

    def __init__(self) -> None:
        """Opens nothing."""

    def write(self, event: Event) -> None:
        """Does nothing."""

    def sync(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def train_over_ranks(
    launch: Launch,
    read_config: Callable[[], RunConfig],
    run: RunDir,
    quiet: bool = False,
    code_policy: CodeUse = "check",
) -> Outcome:
    """Train the config returned by ``read_config`` in ``run`` with the other ranks of ``launch``; returns the outcome.

    Raises UserError like ``core.training.train.train``, on every rank, and RankLost if another rank dies or does not
    respond.
    """
    with join_ranks(launch) as messages:
        team = Team(launch, messages)
        config = team.on_all_ranks(read_config)
        team.require_same("version of this program or of PyTorch", f"{_source_digest()}, torch {torch.__version__}")
        team.require_same("config", config.digest())
        try:
            team.on_all_ranks(lambda: check_mesh(launch.size, config.runtime.shard))
            device = team.on_all_ranks(lambda: device_of(launch, config.runtime.device))
        except (LaunchError, TrainingError) as error:
            if team.is_leader:
                record_refusal(config, run, error)
            raise
        with ExitStack() as stack:

            def claim_run() -> Outcome | None:
                run.create()
                stack.callback(run.claim().release)
                return prepare_run(config, run)

            if earlier_outcome := team.on_first_rank(claim_run):
                return earlier_outcome
            peers = messages.exchange("process", [launch.rank, launch.host, os.getpid(), own_start_time()])
            team.secret = team.on_first_rank(lambda: secrets.token_hex(8))
            team.on_all_ranks(lambda: open_group(launch, messages, device, config.runtime.patience))
            return _train_and_record(config, run, team, peers, quiet, code_policy)


def _source_digest() -> str:
    """A digest of this program's source; 12 hex digits."""
    digest = hashlib.sha256()
    root = Path(core.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _train_and_record(
    config: RunConfig, run: RunDir, team: Team, peers: list[Any], quiet: bool, code_policy: CodeUse
) -> Outcome:
    """Train on this rank; rank 0 records the outcome."""
    assert team.messages is not None
    events = open_events(run) if team.is_leader else _NoEvents()
    leave = _exit_function(events, team)
    local_peers = [(rank, pid, started) for rank, host, pid, started in peers
            if host == team.launch.host and rank != team.launch.rank]  # fmt: skip
    loop: Loop | None = None
    try:
        with (
            signals_as_requests(launched=True) as requests,
            Heartbeat(run, quiet or not team.is_leader, writes=team.is_leader) as heartbeat,
            Watch(team.messages, local_peers, leave) as watch,
        ):
            try:
                try:
                    team.on_first_rank(lambda: keep_code(config, run, code_policy))
                    loop = Loop(config, run, events, heartbeat, requests, team, CustomCode(run, started=True))
                    loop.run()
                    outcome: Outcome = "done"
                except Interrupt as interrupt:
                    watch.allow_slow_exit()
                    outcome = interrupt.outcome
                    if loop is not None:
                        loop.save_if_needed()
                team.on_first_rank(lambda: _record_outcome(events, loop, outcome))
                return outcome
            except Exception as error:
                raise _final_error(disk_full_error(run, error) or error, team, watch) from error
    except Exception as error:
        if team.is_leader and not isinstance(error, RankLost):
            record_failure(events, loop.step if loop else 0, error)
        raise
    finally:
        if team.is_leader:
            run.clear_control()
        events.close()


def _record_outcome(events: EventWriter, loop: Loop | None, outcome: Outcome) -> None:
    events.write(RunFinished(step=loop.step if loop else 0, outcome=outcome))
    events.sync()


def _final_error(error: Exception, team: Team, watch: Watch) -> Exception:
    """The error that ended the run: this rank's ``error``, the failure of another rank, or RankLost."""
    assert team.messages is not None
    if not isinstance(error, RankLost) and not _means_lost_rank(error):
        message = str(error) if isinstance(error, UserError) else sentence(error)
        text = message or f"{type(error).__name__}: {error}"
        kind, trace = type(error).__name__, "".join(traceback.format_exception(error))
        team.messages.report_failure(Failure(team.launch.rank, team.launch.host, kind, text, trace))
        return error
    failure = team.messages.failure(_FAILURE_REPORT_TIMEOUT_S)
    if failure is not None and failure.rank != team.launch.rank:
        return TrainingError(f"rank {failure.rank} on {failure.host}: {failure.message}")
    lost_rank = watch.lost_ranks() or "another rank"
    return RankLost(
        f"{lost_rank} of {team.size} died or does not respond ({_shorten(error)}); the run is interrupted. Start the "
        "run again with the same folder to resume from its last checkpoint."
    )


def _means_lost_rank(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _LOST_RANK_MESSAGES)


def _shorten(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 160 else f"{text[:80]} ... {text[-70:]}"


def _exit_function(events: EventWriter, team: Team) -> Callable[[str, Failure | None], None]:
    """A function that ends this process from the watching thread."""

    def leave(reason: str, failure: Failure | None) -> None:
        if team.is_leader and failure is not None:
            events.write(RunFailed(step=0, error=failure.error, message=failure.message, traceback=failure.traceback))
        if team.is_leader:
            say_error(
                failure.message if failure is not None else f"{reason}; the run is interrupted and can be resumed."
            )
        sys.stdout.flush()
        os._exit(1)

    return leave
