"""A run folder of anybody's: its events, status, config, checkpoint and control are read or refused in a sentence.

Each file is changed by structure and by byte; the long variants (``-m slow``) try 10,000 of each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.checkpoint import files as checkpoint
from core.checkpoint.files import CheckpointInfo, CheckpointState
from core.checkpoint.opening import open_network
from core.model.network import Network
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network
from core.spec.config import read_config
from core.spec.presets import preset_config
from core.spec.run.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    EventReader,
    Log,
    Metrics,
    RunFailed,
    RunFinished,
    RunStarted,
    Sample,
    encode,
    lifecycle,
)
from core.spec.run.folder import RunDir
from core.spec.run.model_names import RunNetwork, resolve
from core.spec.run.status import judge, own_status, process_alive
from sdgui.runs.history import RunHistory
from sdgui.store.summary import RunSummary
from tests.mutations import mutated, survives

CPU = torch.device("cpu")
CONFIG = preset_config("sd-clip", "tiny")
EVENTS: tuple[Event, ...] = (
    RunStarted(step=0, total_steps=12, config_digest="d", device="cpu", precision="fp32", pairs=36, parameters=7),
    Metrics(step=1, values={"train/loss": 1.0, "train/lr": 1e-3, "diag/x": float("nan")}),
    Evaluated(step=1, values={"val/student/mean_recall": 0.5}),
    CheckpointSaved(step=1, name="step-00000001", best=True),
    Sample(step=1, what="retrieval", content={"student": [{"caption": "a", "hits": [{"image": "x", "score": 0.1}]}]}),
    Log(level="warning", message="a row is broken"),
    RunFinished(step=1, outcome="paused"),
    RunFailed(step=1, error="E", message="m", traceback="t"),
)
LINES = st.one_of([mutated(json.loads(encode(event)), line=True) for event in EVENTS])


def tried(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(
        max_examples=examples,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("hostile") / "run")
    run.create()
    return run


def read_events(run: RunDir, lines: list[bytes]) -> None:
    run.events.write_bytes(b"\n".join([*lines, encode(EVENTS[1]).strip(), b""]))
    reader = EventReader(run.events)
    found = reader.read_all()
    assert found[-1:] == [EVENTS[1]] or repr(found[-1]) == repr(EVENTS[1]), "what follows is read"
    assert bool(reader.problem) == bool(reader.broken)
    lifecycle(run.events)
    history, summary = RunHistory(), RunSummary()
    history.apply(found)
    summary.apply(found)
    assert all(-(1 << 63) <= number < 1 << 63 for number in (summary.step, summary.total_steps, history.step))
    judge(None, summary.terminal)


EVENTS_READ = {"lines": st.lists(LINES, min_size=1, max_size=4)}
STATUS = {"content": mutated(asdict(own_status(3, 12, "training", 4.0)))}
CONFIG_TEXT = {"content": mutated(CONFIG.model_dump(mode="json"))}
CONTROL = {"content": st.one_of(mutated("stop"), mutated("pause"), st.binary(max_size=4000))}


@tried(300)
@given(**EVENTS_READ)
def test_events(run: RunDir, lines: list[bytes]) -> None:
    survives(lambda: read_events(run, lines))


@pytest.mark.slow
@tried(10_000)
@given(**EVENTS_READ)
def test_ten_thousand_events(run: RunDir, lines: list[bytes]) -> None:
    survives(lambda: read_events(run, lines))


def read_status(run: RunDir, content: bytes) -> None:
    run.status.write_bytes(content)
    status = run.read_status()
    if status is not None:
        process_alive(status)
        judge(status, None)
        assert 0 <= status.step <= 1 << 53


@tried(300)
@given(**STATUS)
def test_status(run: RunDir, content: bytes) -> None:
    survives(lambda: read_status(run, content))


@pytest.mark.slow
@tried(10_000)
@given(**STATUS)
def test_ten_thousand_statuses(run: RunDir, content: bytes) -> None:
    survives(lambda: read_status(run, content))


def read_run_config(run: RunDir, content: bytes) -> None:
    run.config.write_bytes(content)
    read_config(run.config)


@tried(200)
@given(**CONFIG_TEXT)
def test_config(run: RunDir, content: bytes) -> None:
    survives(lambda: read_run_config(run, content))


@pytest.mark.slow
@tried(10_000)
@given(**CONFIG_TEXT)
def test_ten_thousand_configs(run: RunDir, content: bytes) -> None:
    survives(lambda: read_run_config(run, content))


def read_control(run: RunDir, content: bytes) -> None:
    run.control.write_bytes(content)
    assert run.asked() in (None, "stop", "pause")
    run.clear_control()


@tried(200)
@given(**CONTROL)
def test_control(run: RunDir, content: bytes) -> None:
    survives(lambda: read_control(run, content))


@pytest.mark.slow
@tried(10_000)
@given(**CONTROL)
def test_ten_thousand_controls(run: RunDir, content: bytes) -> None:
    survives(lambda: read_control(run, content))


def small_model() -> dict[str, Any]:
    model = resolve_architecture("sd-tiny")
    text = {**model["text_cfg"], "vocab_size": 100}  # so that the vocabulary costs nothing
    return {**model, "text_cfg": text}


INFO = CheckpointInfo(
    1, 12, CONFIG.model_dump(mode="json"), small_model(), score=0.5, best_score=0.5, classes=("a", "b")
)
CHECKPOINT = {"content": mutated(asdict(INFO))}


@pytest.fixture(scope="module")
def saved(run: RunDir) -> RunDir:
    torch.manual_seed(0)
    network = build_network(CONFIG, small_model(), INFO.classes)
    tensors = CheckpointState(network.state_dict(), {}, {"rng.cpu": torch.get_rng_state()})
    checkpoint.save(run, INFO, tensors, keep=1)
    return run


def read_checkpoint(run: RunDir, content: bytes) -> Network:
    name = resolve(run, "last")
    (run.checkpoints / name / "checkpoint.json").write_bytes(content)
    return open_network(RunNetwork(run, name, "student"), CPU)


@tried(100)
@given(**CHECKPOINT)
def test_checkpoint(saved: RunDir, content: bytes) -> None:
    survives(lambda: read_checkpoint(saved, content))


@pytest.mark.slow
@tried(10_000)
@given(**CHECKPOINT)
def test_ten_thousand_checkpoints(saved: RunDir, content: bytes) -> None:
    survives(lambda: read_checkpoint(saved, content))


def test_what_was_not_changed_is_read(saved: RunDir) -> None:
    assert isinstance(read_checkpoint(saved, json.dumps(asdict(INFO)).encode()), Network)
