"""A colleague's run in a shared registry: its curves are mirrored from the machine, or the reason is shown."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from core.spec.machines.machine import Machine
from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics, RunStarted
from core.spec.run.folder import RunDir
from sdgui.runs.follower import Follower
from sdgui.runs.machines.colleagues import colleague_dir
from sdgui.runs.machines.hosts import Hosts
from sdgui.store.records import Place, Run
from sdgui.store.registry.address import RegistryAddress, parse_address
from sdgui.store.store import Store
from tests.core.remote.conftest import command
from tests.postgres import PostgresServer

HERE = platform.node()


@pytest.fixture
def hosts(tmp_path: Path, qapp: object) -> Iterator[Hosts]:
    """This computer as a machine, through pipes."""
    hosts = Hosts(tmp_path / "own", command)
    hosts.put(Machine(name="gpu", host="gpu", runs=str(tmp_path / "there")))
    yield hosts
    hosts.close()


def of_ann(folder: Path, address: RegistryAddress, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that Ann launched from her laptop, as this computer's window reads it."""
    monkeypatch.setattr(platform, "node", lambda: "anns-laptop")
    ann = Store.open(folder / "ann", address)
    run = ann.add_run(ann.add_experiment(preset_config("clip", "tiny")).id, place=Place("box"))
    ann.record_remote_folder(run.id, HERE, str(folder / "there" / "one"))
    ann.close()
    monkeypatch.setattr(platform, "node", lambda: HERE)
    own = Store.open(folder / "own", address)
    try:
        return own.run(run.id)
    finally:
        own.close()


def test_a_colleagues_curves_come_from_the_training_machine(
    qtbot: QtBot, postgres: PostgresServer, tmp_path: Path, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = parse_address(postgres.new_database())
    run = of_ann(tmp_path, address, monkeypatch)
    assert not run.is_local
    there = RunDir(tmp_path / "there" / "one")
    with qtbot.waitSignal(hosts.colleagues.status_changed, timeout=60_000) as status:
        hosts.colleagues.watch([run])
    assert status.args is not None
    assert "gpu does not show the curves of this run" in status.args[1]
    hosts.colleagues.watch([])

    there.create()
    writer = EventWriter(there.events)
    writer.write(RunStarted(step=0, total_steps=9, config_digest="d"))
    own = Store.open(tmp_path / "own", address)
    follower = Follower(own, poll_seconds=0.05)
    follower.start()
    with qtbot.waitSignal(follower.curves_loaded, timeout=60_000) as loaded:
        history = follower.show(run.id)
    assert loaded.args == [run.id], "nothing has been mirrored yet"
    with qtbot.waitSignal(hosts.colleagues.status_changed, timeout=60_000) as status:
        hosts.colleagues.watch([run])
    assert status.args == [run.id, ""]
    for step in (1, 2, 3):
        writer.write(Metrics(step=step, values={"train/loss": 1.0 / step}))
    qtbot.waitUntil(lambda: list(history.curve("train/loss").steps) == [1, 2, 3], timeout=60_000)
    mirror = colleague_dir(own.home, run)
    assert not (there.path / "control").exists()
    hosts.colleagues.watch([])
    qtbot.waitUntil(lambda: mirror.path not in hosts.runs._attached, timeout=60_000)
    writer.close()
    follower.close()
    own.close()

    far = replace(run, remote_folder=("another", "/there"))
    with qtbot.waitSignal(hosts.colleagues.status_changed, timeout=60_000) as status:
        hosts.colleagues.watch([far])
    assert status.args is not None
    assert "on another, which is not one of your machines; add it" in status.args[1]
