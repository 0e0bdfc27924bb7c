"""Studies: configs, noisy copies, the queue with real processes, results and their plot."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.__main__ import main
from core.data.dataset import open_dataset
from core.data.derived.noisy import shuffle_rows
from core.data.labelling import label_rows
from core.data.loader import Loader
from core.spec import files
from core.spec.config import ConfigError, override, read_config
from core.spec.errors import UserError
from core.spec.resources import resource_folder
from core.spec.study import Study, StudyDir, absolute, read_study
from core.studies.study import queue
from core.studies.study.claiming import StudyError
from core.studies.study.job import run_config
from core.studies.study.places import local_place
from core.studies.study.queue import run_study
from core.studies.study.results import collect
from tests.core.images import write_pairs
from tests.core.labelled import write_labelled

BUNDLED_STUDIES = resource_folder("studies")


def study_dict(*arms: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "size": "tiny",
        "steps": 10,
        "seeds": [0, 1, 2],
        "data": {"train": "train.csv", "val": "val.csv"},
        "arms": list(arms) or [{"name": "base", "preset": "clip"}, {"name": "better", "preset": "sd-clip"}],
        "measures": [{"name": "val", "task": "retrieval", "data": "val"}],
        **more,
    }


@pytest.mark.parametrize("name", ["clean", "noisy"])
def test_shipped_studies_are_complete(name: str) -> None:
    study = read_study(BUNDLED_STUDIES / f"{name}.json")
    assert {"clip", "sd-clip", "coca", "sd-coca"} <= {arm.name for arm in study.arms}
    assert study.seeds == [0, 1, 2]
    assert ("sd-clip", "clip") in study.pairs


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arms": [{"name": "a", "preset": "clip"}, {"name": "a", "preset": "clip"}]}, "two arms"),
        ({"arms": [{"name": "a", "preset": "no-such"}]}, "no-such"),
        ({"seeds": [1, 1]}, "seed 1"),
        ({"stepz": 3}, "stepz"),
    ],
)
def test_an_invalid_study_names_the_field(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps(study_dict() | change))
    with pytest.raises(ConfigError, match=said):
        read_study(path)


@given(st.integers(4, 60), st.floats(0.2, 1.0), st.integers(0, 5), st.integers(0, 99))
def test_every_shuffled_row_gets_another_caption(rows: int, share: float, alike: int, seed: int) -> None:
    captions = [(f"caption {0 if row < alike else row}",) for row in range(rows)]
    try:
        order = shuffle_rows(captions, share, seed)
    except UserError:  # too many captions are the same to exchange them
        assert alike > 1 or round(share * rows) == 1
        return
    assert sorted(order) == list(range(rows))
    moved = [row for row in range(rows) if order[row] != row]
    assert len(moved) == round(share * rows)
    assert all(captions[order[row]] != captions[row] for row in moved)
    assert order == shuffle_rows(captions, share, seed)


@pytest.mark.parametrize(("per_class", "ratio"), [(2, 3), (3, 1)])
def test_steps_with_unlabelled_rows_match_the_loader(tmp_path: Path, per_class: int, ratio: int) -> None:
    train, _ = write_labelled(tmp_path)
    label = ["data.label=colour", f"data.labels_per_class={per_class}", f"data.unlabelled_ratio={ratio}",
             "optim.batch_size=2"]  # fmt: skip
    data = {"train": str(train), "val": "val.csv"}
    study = Study.model_validate(study_dict({"name": "few", "preset": "fixmatch", "set": label}, data=data))
    config = run_config(StudyDir(tmp_path / "out"), study, study.arms[0], seed=0, steps=10)
    dataset = open_dataset(str(train), config.data, 32, lambda texts: torch.ones(len(texts), 4, dtype=torch.int64))
    loader = Loader(dataset, config, 32, labels=label_rows(dataset, config.data, 0))
    assert loader.total_steps == 10
    assert loader.steps_per_epoch != len(dataset) // 2


@pytest.fixture
def fake_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_place, "JOB", (sys.executable, str(Path(__file__).with_name("fake_job.py"))))
    monkeypatch.setattr(queue, "POLL_SECONDS", 0.05)


def test_the_queue_resumes_lists_failures_and_compares(tmp_path: Path, fake_jobs: None) -> None:
    write_pairs(tmp_path)
    arms: list[dict[str, Any]] = [
        {"name": "base", "preset": "clip"},
        {"name": "longer", "preset": "clip", "set": ["seed=2"]},
        {"name": "better", "preset": "sd-clip"},
        {"name": "broken", "preset": "clip", "set": ["seed=3"]},
    ]
    study, out = Study.model_validate(study_dict(*arms)), StudyDir(tmp_path / "out")
    status = run_study(study, tmp_path, out, 2, lambda text: None)
    calls = (out.path / "calls.txt").read_text().splitlines()
    assert len(calls) == 12
    assert [run.state for run in status.runs].count("failed") == 3
    assert {run.message for run in status.runs if run.state == "failed"} == {"error: it is broken"}

    results = out.read_results()
    assert results is not None
    one = next(one for one in results["compare"] if one["arm"] == "better")
    assert one["cost_ratio"]["mean"] == pytest.approx(2.0)
    assert one["metrics"]["val/R@1"]["final"]["difference"]["mean"] == pytest.approx(0.2)  # the teacher's
    assert one["metrics"]["val/R@1"]["student"]["difference"]["mean"] == pytest.approx(0.1)
    assert results["arms"]["broken"]["failed"]["0"] == "error: it is broken"
    table = out.table.read_text()
    assert "better - base" in table
    assert "| +20.0 | 20.0, 20.0, 20.0 |  | 0.250 |" in table  # every seed gains the same
    assert "it is broken" in table
    drawn = ElementTree.fromstring(out.plot.read_text())
    assert sum(part.tag.endswith("circle") for part in drawn.iter()) == 12  # three arms: three seeds and a mean

    (out.path / "mended").touch()
    status = run_study(study, tmp_path, out, 1, lambda text: None)
    assert status.finished
    assert status.done == 12
    assert len((out.path / "calls.txt").read_text().splitlines()) == 15  # only the three that had failed
    read = out.read_status()
    assert read is not None
    assert read.done == 12
    with pytest.raises(StudyError, match="another study"):
        run_study(study.model_copy(update={"steps": 11}), tmp_path, out, 1, lambda text: None)


def test_a_student_is_compared_with_the_network_the_baseline_would_use(tmp_path: Path) -> None:
    study = Study.model_validate(study_dict() | {"seeds": [0], "compare": [["base", "better"]]})
    out = StudyDir(tmp_path)
    for arm, student, teacher in (("base", 0.5, 0.6), ("better", 0.4, 0.7)):
        networks = {"student": {"val/R@1": student}, "teacher": {"val/R@1": teacher}}
        out.measures(arm, 0).parent.mkdir(parents=True)
        out.measures(arm, 0).write_text(json.dumps({"version": 1, "networks": networks, "notes": []}))
    (one,) = collect(out, study)["compare"]
    found = {network: kept["difference"]["mean"] for network, kept in one["metrics"]["val/R@1"].items()}
    assert found == pytest.approx({"final": -0.1, "student": -0.2, "teacher": -0.1})


def test_a_study_may_gain_arms_and_seeds(tmp_path: Path, fake_jobs: None) -> None:
    write_pairs(tmp_path)
    out = StudyDir(tmp_path / "out")

    def run(**changed: Any) -> list[str]:
        before = len(calls.read_text().splitlines()) if calls.exists() else 0
        run_study(Study.model_validate(study_dict() | changed), tmp_path, out, 1, lambda text: None)
        return calls.read_text().splitlines()[before:]

    calls = out.path / "calls.txt"
    assert len(run(seeds=[0, 1])) == 4
    assert run() == ["base 2 10", "better 2 10"]
    more = [*study_dict()["arms"], {"name": "third", "preset": "siglip"}]
    assert run(arms=more[::-1]) == [f"third {seed} 10" for seed in (0, 1, 2)]
    results = out.read_results()
    assert results is not None
    assert results["arms"]["third"]["seeds"] == [0, 1, 2]
    with pytest.raises(StudyError, match="another study"):
        run(arms=more[1:])
    with pytest.raises(StudyError, match="another study"):
        run(arms=more, seeds=[0, 1])
    with pytest.raises(StudyError, match="another study"):
        run(arms=[{**more[0], "preset": "siglip"}, *more[1:]])


def test_nothing_is_trained_beside_runs_of_another_recipe(tmp_path: Path, fake_jobs: None) -> None:
    write_pairs(tmp_path)
    study, out = Study.model_validate(study_dict(seeds=[0])), StudyDir(tmp_path / "out")
    run_study(study, tmp_path, out, 1, lambda text: None)
    for arm in study.arms:
        config = run_config(out, absolute(study, tmp_path), arm, 0, 10)
        out.run(arm.name, 0).config.write_text(config.to_json())
    grown = study.model_copy(update={"seeds": [0, 1]})
    assert run_study(grown, tmp_path, out, 1, lambda text: None).done == 4

    older = override(read_config(out.run("better", 0).config), ["noise.self_confidence=0.25", "views.student.count=2"])
    out.run("better", 0).config.write_text(older.to_json())
    assert run_study(grown, tmp_path, out, 1, lambda text: None).done == 4  # to measure, it need not be the same
    said = r"better-s0 was trained with views\.student\.count=2, but the arm better now has 1, and 1 more fields"
    with pytest.raises(StudyError, match=said):
        run_study(study.model_copy(update={"seeds": [0, 1, 2]}), tmp_path, out, 1, lambda text: None)
    out.run("better", 0).config.write_text("lost")
    with pytest.raises(StudyError, match=r"cannot read the config that .*better-s0 was trained with: .*config\.json"):
        run_study(study.model_copy(update={"seeds": [0, 1, 2]}), tmp_path, out, 1, lambda text: None)
    assert read_study(out.study).seeds == [0, 1]


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ({"preset": "clip", "set": ["optim.epoch=3"]}, "the arm odd cannot be trained: .*no setting 'optim.epoch'"),
        ({"preset": "clip", "set": ["views.shared=true"]}, "(?s)the arm odd cannot be trained: .*no additional views"),
        ({"config": "gone.json"}, "the arm odd cannot be trained: .*gone.json"),
    ],
)
def test_arms_are_checked_before_any_is_trained(
    tmp_path: Path, fake_jobs: None, arm: dict[str, Any], said: str
) -> None:
    write_pairs(tmp_path)
    study = Study.model_validate(study_dict({"name": "base", "preset": "clip"}, {"name": "odd", **arm}))
    with pytest.raises(StudyError, match=said):
        run_study(study, tmp_path, StudyDir(tmp_path / "out"), 1, lambda text: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["status.json", "results.json"])
def test_a_full_disk_is_reported_and_the_study_continues(
    tmp_path: Path, fake_jobs: None, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps(study_dict(seeds=[0])))
    out = StudyDir(tmp_path / "out")
    out.path.mkdir()
    original = files._open_safely

    def full(path: str, flags: int) -> int:
        if Path(path).name.startswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return original(path, flags)

    arguments = ["study", str(tmp_path / "study.json"), str(out.path)]
    with monkeypatch.context() as patch:
        patch.setattr(files, "_open_safely", full)
        assert main(arguments) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: cannot write {out.path / name}: No space left on device; free some space")
    assert main(arguments) == 0
    assert out.read_results() is not None
    out.results.unlink()
    out.results.mkdir()
    assert main([*arguments, "--results"]) == 1
    assert f"cannot write {out.results}: Is a directory" in capsys.readouterr().err


def test_a_folder_of_that_name_does_not_hide_a_shipped_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "noisy").mkdir()
    monkeypatch.chdir(tmp_path)
    asked: list[Study] = []

    def run(study: Study, *_: object) -> None:
        asked.append(study)
        raise UserError("enough")

    monkeypatch.setattr(queue, "run_study", run)
    assert main(["study", "noisy", "noisy"]) == 1
    assert capsys.readouterr().err == "error: enough\n"
    assert asked == [read_study(BUNDLED_STUDIES / "noisy.json")]
