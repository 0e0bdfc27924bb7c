"""Queued runs start in order on free devices, each once, whichever window starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.store.queue import Slots
from sdgui.store.records import Place, Progress, StoreError
from sdgui.store.store import Store
from tests.sdgui.store.conftest import OpenStore

FOUR = {"": Slots(("0", "1", "2", "3"))}


def queued(store: Store, count: int, host: str = "", devices: str = "") -> list[int]:
    experiment = next(iter(store.experiments()), None) or store.add_experiment(preset_config("clip", "tiny"))
    return [store.add_run(experiment.id, True, Place(host, devices)).id for _ in range(count)]


def taken(store: Store, machines: dict[str, Slots]) -> list[tuple[int, str]]:
    found = []
    while (run := store.take_next(machines)) is not None:
        found.append((run.id, run.devices))
    return found


def end(store: Store, run_id: int) -> None:
    store.record(run_id, Progress(state=RunState.DONE, offset=1, ending="done"))


def test_each_free_gpu_gets_one_run_in_order(store: Store) -> None:
    ids = queued(store, 6)
    assert taken(store, FOUR) == list(zip(ids[:4], "0123", strict=True))
    end(store, ids[2])
    assert taken(store, FOUR) == [(ids[4], "2")]
    assert store.free_devices("", FOUR[""]) == ()


def test_a_run_waits_for_its_machine_and_others_overtake_it(store: Store) -> None:
    (far,) = queued(store, 1, host="cluster")
    (near,) = queued(store, 1)
    assert taken(store, {"": Slots(("0",))}) == [(near, "0")]
    machines = {"": Slots(("0",)), "cluster": Slots(("0", "1"))}
    assert taken(store, machines) == [(far, "0")], "the same index on another machine is another GPU"
    assert store.run(far).machine == "cluster"


def test_a_waiting_run_can_be_moved_to_another_machine_and_a_started_one_cannot(file_store: Store) -> None:
    (run_id,) = queued(file_store, 1)
    assert file_store.request_place(run_id, Place("cluster", "1")).devices_asked == "1"
    assert taken(file_store, {"cluster": Slots(("0", "1"))}) == [(run_id, "1")]
    with pytest.raises(StoreError, match="has started"):
        file_store.request_place(run_id, Place())


def test_a_run_resumes_where_its_checkpoints_are(file_store: Store) -> None:
    [run_id] = queued(file_store, 1)
    file_store.record(run_id, Progress(state=RunState.PAUSED, offset=80))
    file_store.enqueue(run_id)
    assert file_store.request_place(run_id, Place("", "1")).devices_asked == "1"
    with pytest.raises(StoreError, match="started on this computer, where its checkpoints are"):
        file_store.request_place(run_id, Place("cluster"))
    assert file_store.run(run_id).machine == ""


def test_a_launch_gets_a_free_or_else_the_least_used_device(store: Store) -> None:
    experiment = store.add_experiment(preset_config("clip", "tiny"))
    two = Slots(("0", "1"))
    given = [store.assign_devices(store.add_run(experiment.id).id, two).devices for _ in range(5)]
    assert given == ["0", "1", "0", "1", "0"]
    asked = store.add_run(experiment.id, place=Place(devices="1"))
    assert store.assign_devices(asked.id, two).devices == "1"


def test_the_least_used_device_is_counted_on_the_machine_of_the_run(file_store: Store) -> None:
    experiment, two = file_store.add_experiment(preset_config("clip", "tiny")), Slots(("0", "1"))
    for host, devices in (("", "0"), ("", "1"), ("", "1"), ("cluster", "0"), ("cluster", "0"), ("cluster", "1")):
        file_store.assign_devices(file_store.add_run(experiment.id, place=Place(host, devices)).id, two)
    near, far = (file_store.add_run(experiment.id, place=Place(host)).id for host in ("", "cluster"))
    assert [file_store.assign_devices(run_id, two).devices for run_id in (near, far)] == ["0", "1"]


def test_a_run_in_the_bin_holds_no_device(store: Store) -> None:
    (first,) = queued(store, 1)
    one = {"": Slots(("0",))}
    assert taken(store, one) == [(first, "0")]
    (later,) = queued(store, 1)
    assert taken(store, one) == []
    store.delete_run(first)
    assert store.free_devices("", one[""]) == ("0",)
    assert taken(store, one) == [(later, "0")]


def test_a_live_run_with_an_unknown_device_occupies_the_first(file_store: Store) -> None:
    file_store.add_run(file_store.add_experiment(preset_config("clip", "tiny")).id)
    ids, two = queued(file_store, 2), Slots(("0", "1"))
    assert taken(file_store, {"": two}) == [(ids[0], "1")]
    given = [file_store.assign_devices(run_id, two).devices for run_id in queued(file_store, 2)]
    assert given == ["0", "1"], "each device has one run"


TAKER = """
import sys
from pathlib import Path
from core.spec.run.status import RunState
from sdgui.store.queue import Slots
from sdgui.store.records import Progress, StoreUnavailableError
from sdgui.store.registry.address import parse_address
from sdgui.store.store import Store
file_store = Store.open(Path(sys.argv[1]), parse_address(sys.argv[2]) if sys.argv[2] else None)
machines = {"": Slots(tuple("0123"))}
misses = 0
while misses < 50 and file_store.queue():
    try:
        run = file_store.take_next(machines)
    except StoreUnavailableError:  # held by the others for long: asked again, as the launcher does
        continue
    if run is None:
        misses += 1
        continue
    print(run.id, run.devices, flush=True)
    file_store.record(run.id, Progress(state=RunState.DONE, offset=1, ending="done"))
"""


@pytest.mark.parametrize(("processes", "runs"), [(2, 12), pytest.param(8, 400, marks=pytest.mark.slow)])
def test_processes_take_each_run_once(open_store: OpenStore, tmp_path: Path, processes: int, runs: int) -> None:
    store = open_store(tmp_path)
    ids = queued(store, runs)
    address = "" if store.registry is None else store.registry.url.render_as_string(hide_password=False)
    root = str(Path(__file__).parents[3])
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, str(tmp_path), address],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": root},
            text=True,
        )
        for _ in range(processes)
    ]
    outputs = [taker.communicate()[0] for taker in takers]
    assert [taker.returncode for taker in takers] == [0] * processes
    got = [int(line.split()[0]) for output in outputs for line in output.splitlines()]
    assert sorted(got) == ids


HERE, GPUS, MACHINE = (
    Slots(at_once=2),
    Slots(("0", "1", "2"), in_use=frozenset({"2"})),
    Slots(("0", "1", "2"), gpus_per_run=2),
)
ONE, BOTH = Place("gpus", "1"), Place("gpus", "0,1")
PLACES = st.sampled_from([Place(), Place("gpus"), ONE, BOTH, Place("pairs")])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PLACES),
        st.tuples(st.just("take"), st.lists(st.sampled_from(["", "gpus", "pairs"]), unique=True)),
        st.tuples(st.sampled_from(["end", "leave"]), st.integers(0, 3)),
        st.tuples(st.just("order"), st.lists(st.integers(0, 5), max_size=3, unique=True)),
        st.tuples(st.just("send"), st.tuples(st.integers(0, 3), PLACES)),
    ),
    max_size=10,
)


@dataclass(frozen=True)
class QueuedRun:
    """A queued run, or with ``given`` a running one."""

    id: int
    place: Place
    given: str = ""


def next_of(waiting: list[QueuedRun], live: list[QueuedRun], machines: dict[str, Slots]) -> QueuedRun | None:
    """The first run that fits; devices that an earlier run waits for are reserved."""
    kept: dict[str, set[str]] = {}
    for run in waiting:
        if (slots := machines.get(run.place.host)) is None:
            continue
        there = [one for one in live if one.place.host == run.place.host]
        if not slots.devices:
            if len(there) < slots.at_once:
                return run
            continue
        busy = {device for one in there for device in one.given.split(",")} | slots.in_use
        mine = kept.setdefault(run.place.host, set())
        free = [device for device in slots.devices if device not in busy | mine]
        wanted = run.place.devices.split(",") if run.place.devices else free[: slots.gpus_per_run]
        if all(device in free for device in wanted) and (run.place.devices or len(wanted) == slots.gpus_per_run):
            return replace(run, given=",".join(wanted))
        mine.update(wanted)
    return None


def test_the_queue_matches_a_plain_list(file_store: Store) -> None:
    store = file_store
    experiment = store.add_experiment(preset_config("clip", "tiny")).id
    machines = {"": HERE, "gpus": GPUS, "pairs": MACHINE}

    @settings(max_examples=10)
    @example([("add", ONE), ("take", ["gpus"]), ("add", BOTH), ("add", Place("gpus")), ("take", ["gpus"])])
    @given(STEPS)
    def holds(steps: list[tuple[str, Any]]) -> None:
        for run in store.runs():
            store.delete_run(run.id, permanently=True)
        waiting, live = list[QueuedRun](), list[QueuedRun]()
        for name, what in steps:
            at = what[0] if name == "send" else what
            if name == "add":
                waiting.append(QueuedRun(store.add_run(experiment, True, what).id, what))
            elif name == "take":
                there = {host: machines[host] for host in what}
                taken, expected = store.take_next(there), next_of(waiting, live, there)
                assert (taken and (taken.id, taken.devices)) == (expected and (expected.id, expected.given))
                if expected is not None:
                    waiting = [one for one in waiting if one.id != expected.id]
                    live.append(expected)
            elif name == "end" and at < len(live):
                store.record(live.pop(at).id, Progress(state=RunState.DONE, offset=1, ending="done"))
            elif name == "leave" and at < len(waiting):
                assert store.unqueue(waiting.pop(at).id).state is RunState.INTERRUPTED
            elif name == "order":
                first = [waiting[place] for place in at if place < len(waiting)]
                store.reorder_queue([one.id for one in first])
                waiting = [*first, *(one for one in waiting if one not in first)]
            elif name == "send" and at < len(waiting):
                store.request_place(waiting[at].id, what[1])
                waiting[at] = replace(waiting[at], place=what[1])
            assert [run.id for run in store.queue()] == [one.id for one in waiting]

    holds()
