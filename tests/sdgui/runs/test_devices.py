"""Queued runs on pretended GPUs: each busy with one run, none idle for long, in order; each trainer sees its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.machines.answers import Gpu
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, RunFinished
from core.spec.run.status import RunState
from sdgui.runs.chains import chain_of
from sdgui.runs.follower import Follower
from sdgui.runs.launcher import Launcher
from sdgui.runs.machines.slots import MachineSlots, slots_of, visible_gpus
from sdgui.store.queue import Slots
from sdgui.store.records import Experiment, Place, Run
from sdgui.store.store import Store
from tests.sdgui.runs.conftest import Command


def a_gpu(index: int, free: bool = True, uuid: str = "") -> Gpu:
    return Gpu(index=index, uuid=uuid, users=[] if free else ["python (7)"])


def four() -> list[Gpu]:
    return [a_gpu(index) for index in range(4)]


@pytest.fixture
def launcher(store: Store, command: Command, follower: Follower) -> Iterator[Launcher]:
    launcher = Launcher(store, command("--steps", "6", "--delay", "0.05"), slots=MachineSlots(four))
    follower.state_changed.connect(launcher.check_queue)
    follower.start()
    yield launcher
    launcher.close()


def environment_of(run: Run) -> dict[str, str]:
    status = run.dir.read_status()
    assert status is not None
    process = psutil.Process(status.pid)
    for _ in range(500):
        if variables := process.environ():  # empty for a moment after the start
            return variables
        time.sleep(0.01)
    raise AssertionError(f"process {status.pid} has no environment")


def finished_at(run: Run) -> float:
    return max(event.time for event in EventReader(run.dir.events).read_all() if isinstance(event, RunFinished))


def test_a_trainer_sees_only_its_devices(store: Store, experiment: Experiment, command: Command, qtbot: QtBot) -> None:
    launcher = Launcher(store, command("--steps", "500"), slots=MachineSlots(four))
    runs = [launcher.launch(experiment.id), launcher.launch(experiment.id, place=Place(devices="2,3"))]
    assert [run.devices for run in runs] == ["0", "2,3"]
    for run in runs:
        seen = environment_of(run)
        assert seen["CUDA_VISIBLE_DEVICES"] == run.devices
        assert seen["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    queued = launcher.enqueue(experiment.id)
    qtbot.waitUntil(lambda: store.run(queued.id).devices == "1")


def test_several_local_gpus_have_a_process_each_and_a_chain_has_one(
    store: Store, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def start(command: list[str], _folder: object, variables: dict[str, str]) -> subprocess.Popen[bytes]:
        started.append((command, variables))
        return subprocess.Popen([sys.executable, "-S", "-c", ""])

    monkeypatch.setattr("sdgui.runs.launcher.start_trainer", start)
    staged = store.add_experiment(preset_config("blip", "tiny"))
    assert staged.config is not None
    launcher = Launcher(store, slots=MachineSlots(four))
    launcher.launch(experiment.id, place=Place(devices="1,3"))
    launcher.launch(experiment.id)
    launcher.launch(staged.id, chain_of(staged.config, "tiny"), Place(devices="1,3"))
    launcher.launch(staged.id, place=Place(devices="1,3"))
    assert started[0][1]["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert ["--nproc-per-node=2" in command for command, _ in started] == [True, False, False, True]
    assert ["--stage-logs" in command for command, _ in started] == [False, False, True, False]
    assert started[2][0][-3].endswith("chain.json")


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
    launcher = Launcher(store, command("--steps", "3"), slots=MachineSlots(lambda: [a_gpu(0, free=False)]))
    first, second, third = (launcher.enqueue(experiment.id).id for _ in range(3))
    store.reorder_queue([third, first])
    qtbot.wait(300)
    assert [run.id for run in store.queue()] == [third, first, second], "another program uses the only GPU"
    begun: list[int] = []
    again = Launcher(store, command("--steps", "3"), slots=MachineSlots(lambda: [a_gpu(0)]))
    again.launched.connect(begun.append)
    qtbot.waitUntil(lambda: begun == [third])


def test_an_unreachable_machine_delays_nothing_else(
    store: Store, experiment: Experiment, command: Command, qtbot: QtBot
) -> None:
    launcher = Launcher(store, command("--steps", "3"))
    far = launcher.enqueue(experiment.id, place=Place("cluster"))
    near = launcher.enqueue(experiment.id)
    qtbot.waitUntil(lambda: store.run(near.id).launched is not None)
    assert [run.id for run in store.queue()] == [far.id]


def test_slots_follow_from_gpus() -> None:
    gpus = [a_gpu(0), a_gpu(1, free=False), a_gpu(2, uuid="GPU-abc")]
    assert slots_of(gpus, 3, 2) == Slots(("0", "1", "2"), 3, frozenset({"1"}), 2)
    assert [gpu.index for gpu in visible_gpus(gpus, "0, GPU-abc")] == [0, 2]
    parts = [a_gpu(0, uuid="MIG-1"), a_gpu(0, free=False, uuid="MIG-2")]
    assert slots_of(parts, 1) == Slots(("MIG-1", "MIG-2"), 1, frozenset({"MIG-2"}), 1)
    assert visible_gpus(parts, "MIG-2") == parts[1:]
    assert visible_gpus(gpus, None) == gpus
    assert visible_gpus(gpus, "") == []


def test_nothing_starts_on_the_cpu_before_the_gpus_have_answered(
    store: Store, experiment: Experiment, command: Command, qtbot: QtBot
) -> None:
    gpus: list[list[Gpu] | None] = [None]
    launcher = Launcher(store, command("--steps", "2"), slots=MachineSlots(lambda: gpus[0]))
    with pytest.raises(UserError, match="have not answered yet"):
        launcher.launch(experiment.id)
    assert store.runs() == []
    queued = launcher.enqueue(experiment.id)
    launcher._start_queued()
    assert [run.id for run in store.queue()] == [queued.id]
    gpus[0] = [a_gpu(0)]
    launcher.check_queue()
    qtbot.waitUntil(lambda: store.run(queued.id).devices == "0")
    qtbot.waitUntil(lambda: RunFinished in map(type, EventReader(store.run(queued.id).dir.events).read_all()))
