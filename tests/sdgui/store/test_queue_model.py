"""The queue against a plain list: runs come, are taken, end, leave, are put in order and sent elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.store.queue import Slots
from sdgui.store.records import Place, Progress
from sdgui.store.store import Store

HERE, GPUS, MACHINE = Slots(at_once=2), Slots(("0", "1", "2"), in_use=frozenset({"2"})), Slots(("0", "1", "2"), each=2)
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
class One:
    """A run that waits, or with what it was given one that trains."""

    id: int
    place: Place
    given: str = ""


def next_of(waiting: list[One], live: list[One], machines: dict[str, Slots]) -> One | None:
    """The first that fits. What an earlier one waits for is kept for it."""
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
        wanted = run.place.devices.split(",") if run.place.devices else free[: slots.each]
        if all(device in free for device in wanted) and (run.place.devices or len(wanted) == slots.each):
            return replace(run, given=",".join(wanted))
        mine.update(wanted)
    return None


def test_the_queue_does_what_a_plain_list_does(file_store: Store) -> None:
    store = file_store
    experiment = store.add_experiment(preset_config("clip", "tiny")).id
    machines = {"": HERE, "gpus": GPUS, "pairs": MACHINE}

    @settings(max_examples=10)
    @example([("add", ONE), ("take", ["gpus"]), ("add", BOTH), ("add", Place("gpus")), ("take", ["gpus"])])
    @given(STEPS)
    def holds(steps: list[tuple[str, Any]]) -> None:
        for run in store.runs():
            store.delete_run(run.id, for_good=True)
        waiting, live = list[One](), list[One]()
        for name, what in steps:
            at = what[0] if name == "send" else what
            if name == "add":
                waiting.append(One(store.add_run(experiment, True, what).id, what))
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
                store.place(waiting[at].id, what[1])
                waiting[at] = replace(waiting[at], place=what[1])
            assert [run.id for run in store.queue()] == [one.id for one in waiting]

    holds()
