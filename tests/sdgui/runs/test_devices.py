"""Queued runs on pretended GPUs: each busy with one run, none idle for long, in order; each trainer sees its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest
from pytestqt.qtbot import QtBot

from core.spec.children import device_variables
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, RunFinished
from core.spec.run.status import RunState
from sdgui.runs.chains import chain_of
from sdgui.runs.launcher import Launcher, LaunchError
from sdgui.runs.machines.slots import MachineSlots, slots_of, visible
from sdgui.runs.tailer import Tailer
from sdgui.store.queue import Slots
from sdgui.store.records import Experiment, Place, Run
from sdgui.store.store import Store
from tests.sdgui.runs.conftest import Command


@dataclass(frozen=True)
class Gpu:
    index: int
    free: bool = True
    uuid: str = ""

    @property
    def device(self) -> str:
        return self.uuid if self.uuid.startswith("MIG-") else str(self.index)


def four() -> list[Gpu]:
    return [Gpu(index) for index in range(4)]


@pytest.fixture
def launcher(store: Store, command: Command, tailer: Tailer) -> Iterator[Launcher]:
    launcher = Launcher(store, command("--steps", "6", "--delay", "0.05"), slots=MachineSlots(four))
    tailer.state_changed.connect(launcher.check_queue)
    tailer.start()
    yield launcher
    launcher.close()


def environment_of(run: Run) -> dict[str, str]:
    status = run.dir.read_status()
    assert status is not None
    return psutil.Process(status.pid).environ()


def finished_at(run: Run) -> float:
    return max(event.time for event in EventReader(run.dir.events).read_all() if isinstance(event, RunFinished))


def test_a_trainer_sees_only_its_devices(store: Store, experiment: Experiment, command: Command, qtbot: QtBot) -> None:
    launcher = Launcher(store, command("--steps", "500"), slots=MachineSlots(four))
    try:
        runs = [launcher.launch(experiment.id), launcher.launch(experiment.id, place=Place(devices="2,3"))]
        assert [run.devices for run in runs] == ["0", "2,3"]
        for run in runs:
            seen = environment_of(run)
            assert seen["CUDA_VISIBLE_DEVICES"] == run.devices
            assert seen["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        queued = launcher.enqueue(experiment.id)
        qtbot.waitUntil(lambda: store.run(queued.id).devices == "1")
    finally:
        launcher.close()


def test_several_local_gpus_have_a_process_each(
    store: Store, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def start(command: list[str], _folder: object, variables: dict[str, str]) -> subprocess.Popen[bytes]:
        started.append((command, variables))
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr("sdgui.runs.launcher.start_trainer", start)
    launcher = Launcher(store, slots=MachineSlots(four))
    try:
        launcher.launch(experiment.id, place=Place(devices="1,3"))
        launcher.launch(experiment.id)
    finally:
        launcher.close()
    assert "--nproc-per-node=2" in started[0][0]
    assert started[0][1]["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert not any("nproc" in word for word in started[1][0])


def test_stages_write_their_own_logs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def start(command: list[str], *_: object) -> subprocess.Popen[bytes]:
        commands.append(command)
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr("sdgui.runs.launcher.start_trainer", start)
    staged = store.add_experiment(preset_config("blip", "tiny"))
    assert staged.config is not None
    launcher = Launcher(store, slots=MachineSlots(four))
    try:
        launcher.launch(staged.id, chain_of(staged.config, "tiny"), Place(devices="1,3"))
        launcher.launch(staged.id, place=Place(devices="1,3"))
    finally:
        launcher.close()
    assert ["--stage-logs" in command for command in commands] == [True, False]
    several = ["--nproc-per-node=2" in command for command in commands]
    assert several == [False, True], "a chain is one process, whatever it was given"
    assert commands[0][-3].endswith("chain.json")


def test_a_run_without_gpus_sees_the_environment_of_the_window() -> None:
    assert device_variables("") == {}


@pytest.mark.parametrize("runs", [5, pytest.param(40, marks=pytest.mark.slow)])
def test_each_gpu_runs_one_run_and_none_is_idle(
    launcher: Launcher, store: Store, experiment: Experiment, qtbot: QtBot, runs: int
) -> None:
    begun: list[int] = []
    launcher.launched.connect(begun.append)
    ids = [launcher.enqueue(experiment.id).id for _ in range(runs)]
    qtbot.waitUntil(lambda: all(store.run(run_id).state is RunState.DONE for run_id in ids), timeout=600_000)
    assert begun == ids, "the order of the queue"
    spans: dict[str, list[tuple[float, float]]] = {device: [] for device in "0123"}
    for run in (store.run(run_id) for run_id in ids):
        assert run.launched is not None
        spans[run.devices].append((run.launched, finished_at(run)))
    idle = []
    for turns in spans.values():
        assert turns, "every GPU was used"
        for (_, ended), (following, _) in zip(sorted(turns), sorted(turns)[1:], strict=False):
            assert following >= ended, "one run at a time"
            idle.append(following - ended)
    print(json.dumps({"idle_seconds_at_most": max(idle), "runs": runs}))


def test_a_run_dragged_to_the_front_starts_first(
    store: Store, experiment: Experiment, command: Command, qtbot: QtBot
) -> None:
    launcher = Launcher(store, command("--steps", "3"), slots=MachineSlots(lambda: [Gpu(0, free=False)]))
    try:
        first, second, third = (launcher.enqueue(experiment.id).id for _ in range(3))
        store.reorder_queue([third, first])
        qtbot.wait(300)
        assert [run.id for run in store.queue()] == [third, first, second], "another program uses the only GPU"
    finally:
        launcher.close()
    begun: list[int] = []
    again = Launcher(store, command("--steps", "3"), slots=MachineSlots(lambda: [Gpu(0)]))
    try:
        again.launched.connect(begun.append)
        qtbot.waitUntil(lambda: begun == [third])
    finally:
        again.close()


def test_an_unreachable_machine_delays_nothing_else(
    store: Store, experiment: Experiment, command: Command, qtbot: QtBot
) -> None:
    launcher = Launcher(store, command("--steps", "3"))
    try:
        far = launcher.enqueue(experiment.id, place=Place("cluster"))
        near = launcher.enqueue(experiment.id)
        qtbot.waitUntil(lambda: store.run(near.id).launched is not None)
        assert [run.id for run in store.queue()] == [far.id]
    finally:
        launcher.close()


def test_slots_follow_from_gpus() -> None:
    gpus = [Gpu(0), Gpu(1, free=False), Gpu(2, uuid="GPU-abc")]
    assert slots_of(gpus, 3, 2) == Slots(("0", "1", "2"), 3, frozenset({"1"}), 2)
    assert [gpu.index for gpu in visible(gpus, "0, GPU-abc")] == [0, 2]
    parts = [Gpu(0, uuid="MIG-1"), Gpu(0, free=False, uuid="MIG-2")]
    assert slots_of(parts, 1) == Slots(("MIG-1", "MIG-2"), 1, frozenset({"MIG-2"}), 1)
    assert visible(parts, "MIG-2") == parts[1:]
    assert visible(gpus, None) == gpus
    assert visible(gpus, "") == []


def test_nothing_starts_on_the_cpu_before_the_gpus_have_answered(
    store: Store, experiment: Experiment, command: Command, qtbot: QtBot
) -> None:
    gpus: list[list[Gpu] | None] = [None]
    launcher = Launcher(store, command("--steps", "2"), slots=MachineSlots(lambda: gpus[0]))
    try:
        with pytest.raises(LaunchError, match="have not answered yet"):
            launcher.launch(experiment.id)
        assert store.runs() == []
        queued = launcher.enqueue(experiment.id)
        launcher._start_waiting()
        assert [run.id for run in store.queue()] == [queued.id]
        gpus[0] = [Gpu(0)]
        launcher.check_queue()
        qtbot.waitUntil(lambda: store.run(queued.id).devices == "0")
        qtbot.waitUntil(lambda: RunFinished in map(type, EventReader(store.run(queued.id).dir.events).read_all()))
    finally:
        launcher.close()
