"""Stages of chains as they are looked for: listed once, like the first, tried again, as long as more may come."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.chain import Chain, ChainDir, ChainStage, write_chain
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.status import own_status
from sdgui.runs import chains, poller
from sdgui.runs.chains import ChainWatch
from sdgui.store.records import Experiment, Place, Run, StoreError
from sdgui.store.store import Store

CONFIG = preset_config("clip", "tiny")
CHAIN = Chain(name="c", stages=[ChainStage(name=name, config=CONFIG) for name in ("one", "two", "three")])


class Watched:
    """A chain of three stages of which the first is listed, and what was found of the others."""

    def __init__(self, store: Store, experiment: Experiment) -> None:
        self.store, self.folder = store, store.runs_folder / "a-chain"
        self.first = store.import_run(write_chain(self.folder, CHAIN), experiment.id)
        store.place(self.first.id, Place("far", "3"))
        self.watch, self.found = ChainWatch(store), list[int]()
        self.watch.found.connect(self.found.append)

    def stage(self, place: int) -> RunDir:
        return ChainDir(self.folder).stage(CHAIN, place)

    def begins(self, place: int) -> None:
        self.stage(place).create()
        self.stage(place).config.write_text(CONFIG.to_json(), encoding="utf-8")

    def listed(self) -> list[str]:
        return [run.folder.name for run in self.store.runs()]


@pytest.fixture
def watched(qapp: object, store: Store, experiment: Experiment) -> Watched:
    return Watched(store, experiment)


def test_stages_are_listed_as_they_begin_beside_the_first(watched: Watched, experiment: Experiment) -> None:
    watched.first.dir.write_status(own_status())
    assert watched.watch._poll(), "more may come"
    assert watched.found == []
    watched.begins(1)
    assert watched.watch._poll()
    second = watched.store.run(watched.found[0])
    assert (second.folder, second.experiment_id) == (watched.stage(1).path, experiment.id)
    assert (second.machine, second.devices_asked, second.tags) == ("far", "3", ("stage-2-two",))
    assert watched.watch._poll()
    assert len(watched.found) == 1, "once"
    watched.begins(2)
    assert not watched.watch._poll(), "it was the last"
    assert watched.listed() == ["stage-1-one", "stage-2-two", "stage-3-three"]


def test_it_is_over_when_the_program_is_gone_and_what_began_is_listed_all_the_same(watched: Watched) -> None:
    watched.begins(1)
    assert not watched.watch._poll(), "no program lives"
    assert watched.listed() == ["stage-1-one", "stage-2-two"]
    watched.stage(1).write_status(own_status())
    assert watched.watch._poll(), "the second stage trains"


def test_a_stage_in_the_bin_stays_there(watched: Watched) -> None:
    watched.begins(1)
    watched.watch._poll()
    watched.store.delete_run(watched.found[0])
    watched.watch._poll()
    assert watched.listed() == ["stage-1-one"]


@pytest.mark.parametrize("failing", ["import_run", "tag_run", "copy_place"])
def test_a_stage_that_could_not_be_listed_is_tried_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    watched.first.dir.write_status(own_status())
    watched.begins(1)
    watched.begins(2)
    real, calls = getattr(watched.store, failing), list[Any]()

    def held(*what: Any) -> Any:
        calls.append(what)
        if len(calls) == 1:
            raise StoreError("The database is locked.")
        return real(*what)

    monkeypatch.setattr(watched.store, failing, held)
    assert watched.watch._poll(), "one is missing"
    assert len(watched.found) == 1, "the other one is listed"
    assert not watched.watch._poll(), "none is missing"
    assert len(watched.found) == 2
    assert {(run.folder.name, run.tags, run.machine) for run in watched.store.runs()[1:]} == {
        ("stage-2-two", ("stage-2-two",), "far"), ("stage-3-three", ("stage-3-three",), "far"),
    }  # fmt: skip
    watched.watch._poll()
    assert len(watched.found) == 2


def test_a_database_out_of_reach_is_asked_again_and_a_damaged_chain_is_not(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.first.dir.write_status(own_status())
    real = watched.store.stage_runs
    monkeypatch.setattr(watched.store, "stage_runs", lambda **_: (_ for _ in ()).throw(StoreError("It is away.")))
    assert watched.watch._poll()

    def elsewhere() -> list[Run]:
        return [replace(run, owner_host="another computer") for run in real()]

    monkeypatch.setattr(watched.store, "stage_runs", elsewhere)
    assert not watched.watch._poll(), "a colleague's chain is listed by whoever has it"
    monkeypatch.setattr(watched.store, "stage_runs", real)
    ChainDir(watched.folder).chain.write_text("{")
    assert not watched.watch._poll()
    assert watched.listed() == ["stage-1-one"]


def test_no_failure_ends_the_watch(qtbot: QtBot, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_RETRY_SECONDS", 0.001)
    watched.first.dir.write_status(own_status())
    watched.begins(1)
    found, told = chains.chain_file, list[str]()
    watched.watch.trouble.connect(told.append)

    def stale(_folder: Path) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(chains, "chain_file", stale)
    watched.watch.start()
    qtbot.waitUntil(lambda: bool(told))
    monkeypatch.setattr(chains, "chain_file", found)
    qtbot.waitUntil(lambda: len(watched.found) == 1)
    watched.watch.stop()
    assert told == [f"Chains of runs cannot be followed: OSError: [Errno {errno.ESTALE}] Stale file handle."], "once"


def test_runs_without_a_chain_need_no_watching(
    qapp: object, store: Store, experiment: Experiment, tmp_path: Path
) -> None:
    run = store.add_run(experiment.id)
    run.dir.create()
    run.dir.write_status(own_status())
    watch = ChainWatch(store)
    assert not watch._poll()
    watch.stop()
    assert watch.poller.ending.is_set()


def test_what_is_found_while_it_ends_is_told_to_nobody(watched: Watched) -> None:
    watched.first.dir.write_status(own_status())
    watched.begins(1)
    watched.watch.poller.ending.set()
    assert not watched.watch._poll()
    assert watched.found == []
