"""A study's files as somebody else may hand them over: names that lead out, links, damaged measures and results."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from core.spec.chain import ChainDir, preset_chain, read_chain
from core.spec.config import ConfigError
from core.spec.errors import UserError
from core.spec.study import Study, StudyDir, StudyRun, StudyStatus, absolute, read_study
from core.spec.study.records import results_problem
from core.studies.chain.run import ChainError, run_chain
from core.studies.study import queue
from core.studies.study.claiming import StudyError
from core.studies.study.places import local_place
from core.studies.study.queue import run_study
from core.studies.study.results import collect, write_results
from sdgui.runs.study_status import read_study_folder
from tests.core.images import write_pairs
from tests.mutations import feed, few_or_many, mutated, survives

ARMS = [{"name": "base", "preset": "clip"}, {"name": "better", "preset": "sd-clip", "set": ["seed=3"]}]
STUDY: dict[str, Any] = {
    "version": 2,
    "name": "small",
    "size": "tiny",
    "steps": 10,
    "seeds": [0, 1],
    "data": {"train": "train.csv", "val": "val.csv"},
    "noise": {"of": "train", "share": 0.3, "name": "noisy", "kept": "kept"},
    "arms": [*ARMS, {"name": "longer", "preset": "clip", "set": ["seed=1"]}],
    "compare": [["better", "base"]],
    "measures": [{"name": "val", "task": "retrieval", "data": "val", "keep": ["R@1"], "arms": ["base"]}],
}
MEASURES: dict[str, Any] = {
    "version": 1,
    "arm": "base",
    "seed": 0,
    "steps": 10,
    "step_seconds": 0.1,
    "train_seconds": 1.0,
    "networks": {"student": {"val/R@1": 0.5}, "teacher": {"val/R@1": 0.6}},
    "measured": [{"name": "val", "task": "retrieval", "data": "val"}],
    "notes": ["none"],
}
STATUS: dict[str, Any] = {
    "pid": 1,
    "started": 1.5,
    "heartbeat": 2.5,
    "host": "elsewhere",
    "finished": False,
    "runs": [{"arm": "base", "seed": 0, "folder": "runs/base-s0", "state": "failed", "message": "it broke"}],
}
FILES = ["study", "measures", "status", "results", "chain"]


@pytest.mark.parametrize(
    "noise",
    [
        {"name": "../../precious"},
        {"kept": "/tmp/precious"},
        {"name": "a/b"},
        {"name": "..", "kept": "."},
        {"name": "noisy\n"},
        {"name": ""},
        {"name": "Kept"},  # the same file as the other where case does not matter
        {"name": "val"},  # data of the study
        {"name": "test"},  # a file of the demo data, which the copy would replace
    ],
)
def test_a_noisy_copy_is_a_separate_regular_file(noise: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps(STUDY | {"noise": {"of": "train"} | noise}))
    with pytest.raises(ConfigError, match="noise"):
        read_study(path)


@pytest.mark.parametrize(
    "change",
    [
        {"arms": [{"name": "../up", "preset": "clip"}]},
        {"arms": [{"name": "up\n", "preset": "clip"}]},
        {"data": STUDY["data"] | {"far": "demo:../../far.csv"}},
        {"data": STUDY["data"] | {"far": "openclipart:/far.csv"}},
        {"seeds": [-1]},
        {"seeds": list(range(20_000))},
        {"arms": [{"name": f"a{place}", "preset": "clip"} for place in range(20_000)], "compare": []},
    ],
)
def test_names_used_in_paths_are_plain_and_bounded(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps(STUDY | change))
    with pytest.raises(ConfigError) as refused:
        read_study(path)
    assert len(str(refused.value)) < 2000


@pytest.mark.parametrize("link", ["data", "runs", "runs/base-s1", "runs/base-s0/exports", "runs/better-s0/stderr.log"])
def test_a_study_writes_through_no_link_that_leads_out(
    link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = str(Path(__file__).with_name("fake_job.py"))
    monkeypatch.setattr(local_place, "JOB", (sys.executable, fake))
    write_pairs(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    out = StudyDir(tmp_path / "out")
    (out.path / link).parent.mkdir(parents=True)
    (out.path / link).symlink_to(outside / "precious" if link.endswith(".log") else outside)
    with pytest.raises(StudyError, match="through a link"):
        run_study(Study.model_validate(STUDY), tmp_path, out, 1, lambda text: None)
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "precious"


@pytest.mark.parametrize("link", ["data", "stage-1-generation-1", "stage-2-generation-2/checkpoints", ".lock"])
def test_a_chain_writes_through_no_link_that_leads_out(link: str, tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", ChainDir(tmp_path / "chain")
    outside.mkdir()
    (outside / "precious").write_text("precious")
    (folder.path / link).parent.mkdir(parents=True)
    (folder.path / link).symlink_to(outside / "precious" if link == ".lock" else outside)
    with pytest.raises(ChainError, match="through a link"):
        run_chain(preset_chain("born-again", "tiny"), folder, lambda *_: None)
    assert (outside / "precious").read_text() == "precious"


@pytest.mark.parametrize("generations", [100_000, 101, 0, -5])
def test_the_number_of_generations_is_bounded(generations: int) -> None:
    with pytest.raises(ConfigError, match=f"--generations must be from 1 to 100, not {generations};"):
        preset_chain("born-again", "tiny", generations)


def test_pipes_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for read in (read_study, read_chain):
        with pytest.raises(ConfigError, match="named pipe"):
            read(pipe)
    out = study_folder(tmp_path)
    for path in (out.status, out.results, out.measures("base", 0)):
        path.unlink()
        os.mkfifo(path)
    assert out.read_status() is None
    assert out.read_results() is None
    with pytest.raises(UserError, match="named pipe"):
        out.read_measures("base", 0)


@pytest.mark.parametrize(
    "broken",
    [
        {"networks": 5},
        {"networks": {"student": {"val/R@1": "0.5"}}},
        {"networks": {"other": {}}},
        {"step_seconds": 1e-300},
        {"train_seconds": -1.0},
        {"measured": [5]},
    ],
)
def test_damaged_measures_are_listed_and_the_others_are_compared(broken: dict[str, Any], tmp_path: Path) -> None:
    out = study_folder(tmp_path)
    out.measures("better", 1).write_text(json.dumps(MEASURES | broken))
    results = collect(out, read_study(out.study))
    assert results["arms"]["better"]["seeds"] == [0]
    assert "to evaluate the run again" in results["arms"]["better"]["failed"]["1"]
    assert results["arms"]["base"]["seeds"] == [0, 1]
    assert next(iter(broken)) in results["arms"]["better"]["failed"]["1"]
    with pytest.raises(UserError, match=r"measures\.json.*Remove the file"):
        out.missing_measures(read_study(out.study), "better", 1)


def test_a_run_with_damaged_measures_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_place, "JOB", (sys.executable, str(Path(__file__).with_name("fake_job.py"))))
    monkeypatch.setattr(queue, "POLL_SECONDS", 0.05)
    write_pairs(tmp_path)
    out = StudyDir(tmp_path / "out")
    (out.path / "elsewhere").mkdir(parents=True)
    out.runs.symlink_to(out.path / "elsewhere")  # a link that stays in the study is followed
    study = Study.model_validate(STUDY | {"arms": ARMS, "noise": None})
    out.run("base", 0).create()
    out.measures("base", 0).write_text('{"networks": 5}')
    status = run_study(study, tmp_path, out, 1, lambda text: None)
    states = {(run.arm, run.seed): run.state for run in status.runs}
    assert states.pop(("base", 0)) == "failed"
    assert set(states.values()) == {"done"}
    assert out.measures("base", 0).read_text() == '{"networks": 5}'


def study_folder(path: Path) -> StudyDir:
    """A study whose runs of two arms are measured."""
    out = StudyDir(path / "folder")
    out.path.mkdir(exist_ok=True)
    study = absolute(Study.model_validate(STUDY), path)
    out.study.write_text(study.to_json())
    for arm in ("base", "better"):
        for seed in (0, 1):
            out.run(arm, seed).create()
            out.measures(arm, seed).write_text(json.dumps(MEASURES))
    out.write_status(StudyStatus(runs=[StudyRun("longer", 0, "runs/longer-s0", "failed", "it broke")]).touch())
    write_results(out, study)
    return out


def test_written_results_are_read_back(tmp_path: Path) -> None:
    out = study_folder(tmp_path)
    results = out.read_results()
    assert results is not None
    assert results_problem(results) == ""
    assert read_study_folder(out.path).results == results
    out.results.write_text(json.dumps(results | {"compare": [{"arm": "gone", "baseline": "base", "metrics": {}}]}))
    assert "there is no arm" in read_study_folder(out.path).results_problem


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    return study_folder(tmp_path_factory.mktemp("studies"))


def use(out: StudyDir, name: str, content: bytes) -> None:
    """Put ``content`` in the place of one file, read it as the study and the window do, and put the file back."""
    study = read_study(out.study)
    paths = {
        "study": out.study,
        "measures": out.measures("better", 0),
        "status": out.status,
        "results": out.results,
        "chain": ChainDir(out.path).chain,
    }
    path = paths[name]
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    try:
        if name == "study":
            survives(lambda: read_study(out.study))
        elif name == "measures":
            survives(lambda: out.missing_measures(study, "better", 0))
            survives(lambda: collect(out, study))
        elif name == "status":
            survives(out.read_status)
            survives(lambda: collect(out, study))
        elif name == "chain":
            survives(lambda: read_chain(path))
        survives(lambda: read_study_folder(out.path))
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


def sample(out: StudyDir, name: str) -> Any:
    chain = preset_chain("born-again", "tiny", 2)
    written = {"study": STUDY, "measures": MEASURES, "status": STATUS, "chain": json.loads(chain.to_json())}
    return written[name] if name in written else json.loads(out.results.read_bytes())


@few_or_many
@pytest.mark.parametrize("name", FILES)
def test_any_bytes_of_a_study_file_are_read_or_refused(name: str, folder: StudyDir, examples: int) -> None:
    feed(lambda content: use(folder, name, content), mutated(sample(folder, name)), examples)
