"""Chains on a machine, without a connection: submission, and the mirror of the next stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.spec.chain import Chain, ChainDir, ChainStage, write_chain
from core.spec.config import read_config
from core.spec.errors import UserError
from core.spec.machines.path_translation import PathTranslator, remote_image
from core.spec.machines.record import RemoteRecord, read_record, write_record
from core.spec.machines.remote_chains import next_stage, submit
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir

CONFIG = preset_config("clip", "tiny")
RECORD = RemoteRecord(machine="far", folder="/there/c/stage-1-one", token="t", devices=["2"], script="#!")


class FakeHost:
    """A fake machine that records requests."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def submit(self, *what: Any) -> str:
        self.heard.append(("submit", *what))
        return "asked"

    def submit_chain(self, *what: Any) -> str:
        self.heard.append(("chain", *what))
        return "asked"


def a_chain(folder: Path) -> list[RunDir]:
    chain = Chain(name="c", stages=[ChainStage(name=name, config=CONFIG) for name in ("one", "two")])
    write_chain(folder, chain)
    return [ChainDir(folder).stage(chain, place) for place in range(2)]


@pytest.fixture
def stages(tmp_path: Path) -> list[RunDir]:
    found = a_chain(tmp_path / "c")
    write_record(found[0], RECORD)
    return found


def submission(run: RunDir, config: str) -> tuple[Any, ...]:
    far: Any = FakeHost()
    answer: Any = submit(far, run, RECORD, config, 7.0)
    assert answer == "asked"
    return tuple(far.heard[0])


def test_runs_are_submitted_singly_and_stages_as_their_chain(stages: list[RunDir], tmp_path: Path) -> None:
    plain = RunDir(tmp_path / "plain")
    plain.create()
    assert submission(plain, "{}") == ("submit", "plain", "t", "{}", ["2"], "#!", 7.0, {})
    config = (tmp_path / "c" / "chain.json").read_text()
    assert submission(stages[0], "{}") == ("chain", "c", "stage-1-one", "t", config, ["2"], "#!", 7.0)
    assert submission(stages[1], "") == ("chain", "c", "stage-2-two", "t", "", ["2"], "#!", 7.0)
    with pytest.raises(
        UserError, match="The stages before stage-2-two are on this computer, so this stage cannot be resumed on far"
    ):
        submission(stages[1], "{}")


def test_the_mirror_of_the_next_stage_is_created_once(stages: list[RunDir], tmp_path: Path) -> None:
    made = next_stage(stages[0])
    assert made is not None
    assert made.path == stages[1].path
    record, status = read_record(made), made.read_status()
    assert record == RECORD.model_copy(update={"folder": "/there/c/stage-2-two"})
    assert status is not None
    assert (status.pid, status.verdict, status.doing, status.host) == (0, "starting", "starting", "far (remote)")
    assert read_config(made.config).preset == "clip"
    made.status.unlink()
    made.config.write_text("kept")
    again = next_stage(stages[0])
    assert again is not None
    assert (again.config.read_text(), again.status.exists()) == ("kept", False)
    assert next_stage(stages[1]) is None, "there is no stage after the last"


def test_names_on_both_machines(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run = RunDir(home / "runs" / "a@b")
    run.create()
    write_record(run, RECORD.model_copy(update={"folder": "/there/a"}))
    names = PathTranslator(home, "far")
    root = f"{home}/remote-images/far"
    there = {
        f"{root}/data/x.png": "/data/x.png",
        f"{root}x/data/x.png": f"{root}x/data/x.png",
        str(run.path): "/there/a",
        f"{run.path}@best": "/there/a@best",
        f"{run.path}/checkpoints/step-1/student.safetensors": "/there/a/checkpoints/step-1/student.safetensors",
        f"{run.path}/x.png": "/there/a/x.png",
        f"interpolated:{run.path}@best@0.7": "interpolated:/there/a@best@0.7",
        f"interpolated:{run.path}@3;open_clip:RN50@0": "interpolated:/there/a@3;open_clip:RN50@0",
        f"{tmp_path}/x.png": f"{tmp_path}/x.png",
        "relative/x.png": "relative/x.png",
        "open_clip:ViT-B-32": "open_clip:ViT-B-32",
        f"{home}/runs/none@3": f"{home}/runs/none@3",
        str(home): str(home),
        "": "",
        f"{run.path}\0": f"{run.path}\0",
        "/" + "x" * 5000: "/" + "x" * 5000,
    }
    assert {name: names.to_remote(name) for name in there} == there
    assert {name for name in there if names.is_on_machine(name)} == {
        name for name, other in there.items() if name != other
    }
    names.add_copy(f"{tmp_path}/x.png", "/tmp/sent/1.png")
    assert names.to_remote([{"a": f"{tmp_path}/x.png"}, 3, None]) == [{"a": "/tmp/sent/1.png"}, 3, None]
    assert not names.is_on_machine(f"{tmp_path}/x.png"), "the original is a local image"
    here = {
        "/tmp/sent/1.png": f"{tmp_path}/x.png",
        "/data/b.JPEG": f"{root}/data/b.JPEG",
        "/data/b.csv": "/data/b.csv",
        "b.png": "b.png",
        "/a\0.png": "/a\0.png",
    }
    assert {name: names.to_local(name) for name in here} == here
    deep: Any = "/a.png"
    for _ in range(65):
        deep = [deep]
    assert names.to_local(deep) != deep
    assert names.to_local([deep]) == [deep], "deeply nested values are kept"
    (run.path / "remote.json").write_text("half a rec")
    assert names.to_remote(str(run.path)) == str(run.path)


def test_a_local_image_name_encodes_its_machine(tmp_path: Path) -> None:
    images = tmp_path / "remote-images" / "far"
    assert remote_image(tmp_path, images / "b" / "c.png") == ("far", "/b/c.png")
    for other in (images, images / ".." / "x.png", tmp_path / "far" / "a.png"):
        assert remote_image(tmp_path, other) is None
