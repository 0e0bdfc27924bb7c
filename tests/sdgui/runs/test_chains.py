"""Staged presets: made from an experiment, started as one program, followed stage by stage."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.chain import Chain, ChainDir, ChainStage, chain_file, read_chain, write_chain
from core.spec.config import ConfigError, override, read_config
from core.spec.machines.machine import Machine
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, own_status
from sdgui.runs import chains, poller
from sdgui.runs.chains import ChainWatch, chain_of
from sdgui.runs.follower import Follower
from sdgui.runs.launcher import Launcher
from sdgui.runs.machines.hosts import Hosts
from sdgui.runs.machines.slots import MachineSlots
from sdgui.runs.stages import PREVIOUS_GENERATION, origin, with_previous_generation
from sdgui.store.records import Experiment, Place, Progress, Run, StoreError
from sdgui.store.store import Store
from tests.core.remote.conftest import command as program_there

Command = Callable[..., list[str]]


def test_every_stage_uses_the_experiments_settings_except_its_own() -> None:
    ours = ["name=mine", "data.train=/a.csv", "seed=5", "optim.batch_size=24", "objectives.matching.weight=0.7"]
    chain = chain_of(override(preset_config("vlmo", "tiny"), ours), "tiny")
    assert [stage.name for stage in chain.stages] == ["image", "text", "pairs"]
    assert {stage.config.optim.batch_size for stage in chain.stages} == {24}
    assert {stage.config.data.train for stage in chain.stages} == {"/a.csv"}
    assert [stage.config.objectives.matching.weight for stage in chain.stages] == [0.0, 0.0, 0.7]
    assert [stage.config.name for stage in chain.stages] == ["mine image", "mine text", "mine pairs"]
    assert [stage.takes for stage in chain.stages] == [
        {},
        {"towers.pretrained": "image"},
        {"towers.pretrained": "text"},
    ]


def test_generations_have_their_own_teachers_and_seeds() -> None:
    config = with_previous_generation(override(preset_config("born-again", "tiny"), ["seed=7"]))
    assert config.teacher.checkpoint == PREVIOUS_GENERATION
    found = origin(config)
    assert found is not None
    assert found[0].teacher.checkpoint == PREVIOUS_GENERATION  # no difference to the preset
    chain = chain_of(override(config, ["data.train=/a.csv"]), "tiny")
    assert [stage.config.seed for stage in chain.stages] == [7, 8, 9]
    assert [stage.config.teacher.kind for stage in chain.stages] == ["none", "frozen", "frozen"]
    assert {stage.config.teacher.checkpoint for stage in chain.stages} == {""}
    assert chain.stages[2].takes == {"teacher.checkpoint": "generation-2"}


def test_a_contradictory_stage_is_named() -> None:
    masked = ["objectives.masked_patches.weight=0.1", "views.shared=true", "views.student.count=1"]
    config = override(preset_config("born-again", "tiny"), [*masked, "views.student.mask=0.5"])
    with pytest.raises(ConfigError, match=r"Stage generation-1 cannot be trained: objectives\.masked_patches"):
        chain_of(config, "tiny")


def test_a_chain_is_launched_as_one_and_its_paused_stage_resumes_as_the_chain(
    qtbot: QtBot, store: Store, command: Command, follower: Follower
) -> None:
    experiment = store.add_experiment(preset_config("blip", "tiny"), "two stages")
    launcher = Launcher(store, command("--steps", "60", "--delay", "0.5"))  # time to be seen running
    follower.start()
    assert experiment.config is not None
    first = launcher.launch(experiment.id, chain_of(experiment.config, "tiny"))
    assert first.folder.name == "stage-1-first"
    assert chain_file(first.folder) is not None
    qtbot.waitUntil(lambda: store.run(first.id).state == RunState.RUNNING, timeout=20_000)
    launcher.pause(first.id)
    qtbot.waitUntil(lambda: store.run(first.id).state == RunState.PAUSED and not launcher.stops(), timeout=20_000)
    assert len(store.runs(experiment.id)) == 1
    (first.folder.parent / "hurry").touch()
    launcher.resume(first.id)
    qtbot.waitUntil(lambda: [run.state for run in store.runs(experiment.id)] == [RunState.DONE] * 2, timeout=20_000)
    tags = [("stage-1-first",), ("stage-2-again",)]
    qtbot.waitUntil(lambda: [run.tags for run in store.runs(experiment.id)] == tags, timeout=5000)
    qtbot.waitUntil(lambda: not launcher.chains.is_polling, timeout=5000)


def test_a_stage_leaving_the_queue_keeps_trained_stages(store: Store, command: Command) -> None:
    experiment = store.add_experiment(preset_config("blip", "tiny"), "half trained")
    launcher = Launcher(store, command())
    store.add_run(experiment.id)  # takes the only place
    assert experiment.config is not None
    chain = chain_of(experiment.config, "tiny")
    first = launcher.enqueue(experiment.id, chain)
    (first.dir.checkpoints / "step-00000009").mkdir()
    second = ChainDir(first.folder.parent).stage(chain, 1)
    second.create()
    second.config.write_text(chain.stages[1].config.to_json(), encoding="utf-8")
    run = store.import_run(second.path, experiment.id)
    store.record(run.id, Progress(state=RunState.INTERRUPTED, offset=0))
    launcher.enqueue_run(run.id)
    launcher.unqueue(run.id)
    assert (first.dir.checkpoints / "step-00000009").is_dir()


def test_a_chain_leaving_the_queue_leaves_nothing(store: Store, qtbot: QtBot, command: Command) -> None:
    experiment = store.add_experiment(preset_config("blip", "tiny"), "waits")
    launcher = Launcher(store, command())
    launcher.set_limit(1)
    store.add_run(experiment.id)  # takes the only place
    assert experiment.config is not None
    run = launcher.enqueue(experiment.id, chain_of(experiment.config, "tiny"))
    assert run.state == RunState.QUEUED
    folder = run.folder.parent
    assert len(read_chain(ChainDir(folder).chain).stages) == 2
    launcher.unqueue(run.id)
    assert not folder.exists()


def test_paths_of_a_chain_are_absolute_locally_and_unchanged_remotely(
    store: Store, qtbot: QtBot, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.csv").touch()
    config = override(preset_config("blip", "tiny"), ["data.train=pairs.csv"])
    experiment = store.add_experiment(config)
    launcher = Launcher(store, command())
    store.add_run(experiment.id)  # takes the only place
    runs = [launcher.enqueue(experiment.id, chain_of(config, "tiny"), Place(host)) for host in ("", "near")]
    chains = [read_chain(run.folder.parent / "chain.json") for run in runs]
    assert [chain.stages[0].config.data.train for chain in chains] == [str(tmp_path / "pairs.csv"), "pairs.csv"]


def test_a_remote_chain_is_listed_stage_by_stage(
    store: Store, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRAINER", "--steps 5 --delay 0")
    hosts = Hosts(store.home, program_there)
    hosts.put(Machine(name="near", runs=str(tmp_path / "there")))
    launcher = Launcher(store, slots=MachineSlots(remote=hosts.slots), remote=hosts)
    hosts.stage_begun.connect(launcher.chains.start)
    follower = Follower(store)
    follower.start()
    try:
        experiment = store.add_experiment(override(preset_config("blip", "tiny"), ["data.train=there.csv"]))
        assert experiment.config is not None
        launcher.launch(experiment.id, chain_of(experiment.config, "tiny"), Place("near"))

        def listed() -> list[tuple[str, str, str]]:
            return [(run.folder.name, run.machine, run.state) for run in store.runs(experiment.id)]

        wanted = [("stage-1-first", "near", "done"), ("stage-2-again", "near", "done")]
        qtbot.waitUntil(lambda: listed() == wanted, timeout=30_000)
        [first, second] = [read_config(run.dir.config) for run in store.runs(experiment.id)]
        assert first.data.train == "there.csv", "a path of that machine"
        chain = tmp_path / "there" / store.runs(experiment.id)[0].folder.parent.name
        assert second.data.train == str(chain / "data" / "again.csv")
    finally:
        follower.close()
        launcher.close()
        hosts.close()


def test_a_stage_that_starts_during_the_last_poll_is_listed(
    store: Store, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program makes its next stage and ends between two lines of one look; there is another look."""
    experiment = store.add_experiment(preset_config("blip", "tiny"), "two stages")
    assert experiment.config is not None
    chain = chain_of(experiment.config, "tiny")
    folder = store.runs_folder / "a-chain"
    first = store.import_run(write_chain(folder, chain), experiment.id)
    first.dir.write_status(own_status())
    second = ChainDir(folder).stage(chain, 1)
    watch = ChainWatch(store)
    is_file = Path.is_file

    def begun_just_then(path: Path) -> bool:
        there = is_file(path)
        if path == second.config and not there:
            second.create()
            second.config.write_text(chain.stages[1].config.to_json(), encoding="utf-8")
            first.dir.status.unlink()
        return there

    monkeypatch.setattr(Path, "is_file", begun_just_then)
    assert watch._poll(), "polled again: the program was alive when the poll began"
    assert not watch._poll()
    assert [run.folder.name for run in store.runs()] == ["stage-1-" + chain.stages[0].name, second.path.name]


CONFIG = preset_config("clip", "tiny")
CHAIN = Chain(name="c", stages=[ChainStage(name=name, config=CONFIG) for name in ("one", "two", "three")])


class Watched:
    """A chain of three stages of which the first is listed."""

    def __init__(self, store: Store, experiment: Experiment) -> None:
        self.store, self.folder = store, store.runs_folder / "a-chain"
        self.first = store.import_run(write_chain(self.folder, CHAIN), experiment.id)
        store.request_place(self.first.id, Place("far", "3"))
        self.watch = ChainWatch(store)

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


def test_stages_are_listed_as_they_start(watched: Watched, experiment: Experiment) -> None:
    watched.first.dir.write_status(own_status())
    assert watched.watch._poll(), "more may come"
    assert watched.listed() == ["stage-1-one"]
    watched.begins(1)
    assert watched.watch._poll()
    second = watched.store.runs()[1]
    assert (second.folder, second.experiment_id) == (watched.stage(1).path, experiment.id)
    assert (second.machine, second.devices_asked, second.tags) == ("far", "3", ("stage-2-two",))
    assert watched.watch._poll()
    assert watched.listed() == ["stage-1-one", "stage-2-two"], "once"
    watched.begins(2)
    assert not watched.watch._poll(), "it was the last"
    assert watched.listed() == ["stage-1-one", "stage-2-two", "stage-3-three"]


def test_a_stage_in_the_bin_stays_there(watched: Watched) -> None:
    watched.begins(1)
    watched.watch._poll()
    watched.store.delete_run(watched.store.runs()[1].id)
    watched.watch._poll()
    assert watched.listed() == ["stage-1-one"]


def test_a_stage_that_could_not_be_listed_is_retried(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.first.dir.write_status(own_status())
    watched.begins(1)
    watched.begins(2)
    real, calls = watched.store.import_run, list[Any]()

    def held(*what: Any, **more: Any) -> Any:
        calls.append(what)
        if len(calls) == 1:
            raise StoreError("The database is locked.")
        return real(*what, **more)

    monkeypatch.setattr(watched.store, "import_run", held)
    assert watched.watch._poll(), "one is missing"
    assert watched.listed() == ["stage-1-one", "stage-3-three"], "the other one is listed"
    assert not watched.watch._poll(), "none is missing"
    assert {(run.folder.name, run.tags, run.machine) for run in watched.store.runs()[1:]} == {
        ("stage-2-two", ("stage-2-two",), "far"), ("stage-3-three", ("stage-3-three",), "far"),
    }  # fmt: skip
    watched.watch._poll()
    assert len(watched.listed()) == 3


def test_an_unreachable_database_is_retried_and_a_damaged_chain_is_not(
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


def test_no_error_ends_the_watch(qtbot: QtBot, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
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
    qtbot.waitUntil(lambda: len(watched.listed()) == 2)
    watched.watch.stop()
    assert told == [f"Chains of runs cannot be followed: OSError: [Errno {errno.ESTALE}] Stale file handle."], "once"
