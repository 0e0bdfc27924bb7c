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
    Lifecycle,
    Log,
    Metrics,
    RunFailed,
    RunFinished,
    RunStarted,
    Sample,
    encode,
)
from core.spec.run.folder import RunDir
from core.spec.run.model_names import RunNetwork, resolve
from core.spec.run.status import derive_state, own_status, process_alive
from sdgui.runs.history import RunHistory
from sdgui.store.summary import RunSummary
from tests.mutations import feed, few_or_many, mutated, survives

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
    Lifecycle(run.events).read()
    history, summary = RunHistory(), RunSummary()
    history.apply(found)
    summary.apply(found)
    assert all(-(1 << 63) <= number < 1 << 63 for number in (summary.step, summary.total_steps))
    derive_state(None, summary.terminal)


def read_status(run: RunDir, content: bytes) -> None:
    run.status.write_bytes(content)
    status = run.read_status()
    if status is not None:
        process_alive(status)
        derive_state(status, None)
        assert 0 <= status.step <= 1 << 53


def read_run_config(run: RunDir, content: bytes) -> None:
    run.config.write_bytes(content)
    read_config(run.config)


def read_control(run: RunDir, content: bytes) -> None:
    run.control.write_bytes(content)
    assert run.pending_request() in (None, "stop", "pause")
    run.clear_control()


READERS: dict[str, tuple[Callable[[RunDir, Any], None], st.SearchStrategy[Any]]] = {
    "events": (read_events, st.lists(LINES, min_size=1, max_size=4)),
    "status": (read_status, mutated(asdict(own_status(3, 12, "training", 4.0)))),
    "config": (read_run_config, mutated(CONFIG.model_dump(mode="json"))),
    "control": (read_control, st.one_of(mutated("stop"), mutated("pause"), st.binary(max_size=4000))),
}


@few_or_many
@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_read_or_refused(run: RunDir, name: str, examples: int) -> None:
    read, contents = READERS[name]
    feed(lambda content: survives(lambda: read(run, content)), contents, examples)


def small_model() -> dict[str, Any]:
    model = resolve_architecture("sd-tiny")
    text = {**model["text_cfg"], "vocab_size": 100}  # so that the vocabulary costs nothing
    return {**model, "text_cfg": text}


INFO = CheckpointInfo(
    1, 12, CONFIG.model_dump(mode="json"), small_model(), score=0.5, best_score=0.5, classes=("a", "b")
)


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


@few_or_many
def test_a_changed_checkpoint_is_opened_or_refused(saved: RunDir, examples: int) -> None:
    feed(lambda content: survives(lambda: read_checkpoint(saved, content)), mutated(asdict(INFO)), examples)


def test_unchanged_files_are_read(saved: RunDir) -> None:
    assert isinstance(read_checkpoint(saved, json.dumps(asdict(INFO)).encode()), Network)
