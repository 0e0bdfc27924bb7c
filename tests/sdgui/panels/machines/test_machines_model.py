"""What the Machines panel says: facts, GPUs, the queue's order, and the names that ssh knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.spec.run.status import RunState
from sdgui.panels.machines.model import (
    move_entries,
    queue_rows,
    ssh_names,
)
from sdgui.runs.live import RunProgress
from sdgui.store.records import Run


def test_host_names_of_the_ssh_config_without_patterns(tmp_path: Path) -> None:
    folder = tmp_path / ".ssh"
    (folder / "more").mkdir(parents=True)
    (folder / "more" / "one.conf").write_text("Host inner\nInclude config\nInclude ../config\n")
    config = folder / "config"
    config.write_text(
        'Host gpu box* !not "quoted"\n  HostName x\nhost=cluster\n'
        "Include more/*.conf nowhere ~nobody/x\nMatch host y\nHost gpu\n"
    )
    assert ssh_names(config) == ["gpu", "quoted", "cluster", "inner"]
    assert ssh_names(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("rows", "to", "expected"),
    [([3], 0, [4, 1, 2, 3]), ([0], 2, [2, 1, 3, 4]), ([0, 2], 4, [2, 4, 1, 3]), ([1], 1, [1, 2, 3, 4])],
)
def test_a_moved_row_is_inserted_before_the_target_row(rows: list[int], to: int, expected: list[int]) -> None:
    assert move_entries([1, 2, 3, 4], rows, to) == expected


def test_the_queue_shows_active_then_waiting_runs() -> None:
    def run(number: int, state: RunState, **more: object) -> Run:
        return Run(number, 1, f"k{number}", Path("x"), "d", 0.0, state, **more)  # type: ignore[arg-type]

    alive = [run(1, RunState.RUNNING, devices="2", owner="ann@lab"), run(2, RunState.RUNNING)]
    waiting = [
        run(3, RunState.QUEUED, queue_position=5, machine="far"),
        run(4, RunState.QUEUED, devices_asked="0,1"),
    ]
    progress = {
        1: RunProgress(1, RunState.RUNNING, 40, 60, "training", None, None, ""),
        2: RunProgress(2, RunState.DONE, 60, 60, "", None, None, ""),
        5: RunProgress(5, RunState.STARTING, 0, 0, "", None, None, ""),
    }
    rows = queue_rows(alive, waiting, {1: "clip · run 1"}, progress, "here")
    assert [(row.run_id, row.position, row.machine, row.devices, row.progress) for row in rows] == [
        (1, None, "here", "2", "67 %"),
        (3, 1, "far", "first free", ""),
        (4, 2, "here", "0,1", ""),
    ]
    assert rows[0].name == "clip · run 1"
    (begins,) = queue_rows([run(5, RunState.STARTING)], (), {}, progress, "here")
    assert (begins.name, begins.state, begins.progress) == ("run k5", "starting", "")
    (unknown,) = queue_rows([run(6, RunState.RUNNING, owner_host="another")], (), {}, progress, "here")
    assert (unknown.machine, unknown.progress) == ("another", "")
