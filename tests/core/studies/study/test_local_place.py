"""Runs of a study as processes of this computer, and the study as it is sent to others."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.spec.config import override, with_absolute_paths
from core.spec.run.status import own_status
from core.spec.study import Study, StudyDir, read_study
from core.spec.study.folder import StudyRun
from core.studies.study.claiming import StudyError
from core.studies.study.places import local_place
from core.studies.study.places.local_place import LocalPlace
from core.studies.study.places.remote_place import frozen_files, user_data
from core.studies.study.places.selection import PlaceOptions, open_places
from tests.core.remote.conftest import wait_for
from tests.core.studies.study.test_study import study_dict

CODE = "import os, sys, time; print(sys.argv[1:], os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); {}"
RUN = StudyRun(arm="a", seed=3, folder="runs/a-s3")


@pytest.fixture
def out(tmp_path: Path) -> StudyDir:
    return StudyDir(tmp_path / "study")


def program(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(local_place, "JOB", (sys.executable, "-S", "-c", CODE.format(code)))


def test_a_run_is_a_process_with_its_own_device_and_logs(out: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, "time.sleep(600)")
    here, folder = LocalPlace(out, 1, ["4", "6"]), out.run("a", 3)
    folder.create()
    folder.stdout.write_text("before\n")
    folder.stderr.write_text("before\n")
    training = here.begin(RUN, 90, "4")
    try:
        assert here.offer() == "6"
        wait_for(lambda: "4\n" in folder.stdout.read_text())
        assert folder.stdout.read_text() == f"before\n{[str(out.path), 'a', '3', '90']} 4\n"
        assert folder.stderr.read_text() == "", "what it says last is of this time"
        assert (training.poll(), training.state, training.trouble) == (None, "training", "")
        folder.write_status(own_status(step=90, total_steps=90, doing="saving"))
        assert (training.poll(), training.state) == (None, "measuring")
        training.request_stop()
        wait_for(lambda: training._process.poll() is not None)
        ended = training.poll()
        assert ended is not None
        assert ended.problem == f"the trainer exited unexpectedly with status {-signal.SIGTERM}"
        assert here._free == ["6", "4"]
    finally:
        training.abandon()


def test_a_killed_run_is_not_explained_by_its_last_line_of_progress(
    out: StudyDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(monkeypatch, "print('step 236/400', file=sys.stderr, flush=True); time.sleep(600)")
    here, folder = LocalPlace(out, 1), out.run("a", 3)
    training = here.begin(RUN, 400, "")
    wait_for(lambda: "step" in folder.stderr.read_text())
    training._process.kill()
    training._process.wait()
    ended = training.poll()
    assert ended is not None
    assert ended.problem == f"the trainer exited unexpectedly with status {-signal.SIGKILL}"


def test_a_run_that_does_not_end_in_time_is_killed(out: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    program(
        monkeypatch,
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
    )
    here, folder = LocalPlace(out, 1), out.run("a", 3)
    training = here.begin(RUN, 90, "")
    assert here.offer() is None
    wait_for(lambda: "deaf" in folder.stdout.read_text())
    training.request_stop()
    training.abandon()
    process: subprocess.Popen[bytes] = training._process
    assert process.returncode == -signal.SIGKILL


def test_a_folder_that_leads_out_of_the_study_is_not_written(out: StudyDir, tmp_path: Path) -> None:
    out.runs.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    out.run("a", 3).path.symlink_to(tmp_path / "elsewhere")
    here = LocalPlace(out, 1)
    with pytest.raises(StudyError, match="leads out of"):
        here.begin(RUN, 90, "")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert here.offer() == "", "its place is free"


@pytest.mark.parametrize("jobs", [-1, 0, 1001, 10**400])
def test_an_impossible_number_of_jobs_is_refused(out: StudyDir, jobs: int) -> None:
    study = Study.model_validate(study_dict())
    with pytest.raises(StudyError, match=f"{jobs} parallel runs are not possible; use 1 to 1000"):
        open_places(study, out, PlaceOptions(jobs=jobs), print).__enter__()


def test_the_number_of_jobs_is_not_checked_where_devices_replace_it(out: StudyDir) -> None:
    study = Study.model_validate(study_dict())
    with open_places(study, out, PlaceOptions(jobs=0, devices=["0", "1"]), print) as places:
        assert [place.offer() for place in places] == ["0"]


def test_a_study_is_sent_with_its_local_arms(tmp_path: Path) -> None:
    arms: list[dict[str, Any]] = [
        {"name": "one", "preset": "clip", "set": ["optim.beta1=0.7"]},
        {"name": "same", "preset": "clip", "set": ["optim.beta1=0.7"]},
        {"name": "other", "preset": "sd-clip"},
    ]
    data = {"train": "demo:train.csv", "val": "/own/val.csv", "art": "openclipart:a.csv"}
    study = Study.model_validate(study_dict(*arms, set=["optim.beta2=0.9"], data=data))
    files = frozen_files(study)
    assert len(files) == 3, "one config for equal recipes"
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    raw = json.loads(files["study.json"])
    assert [(arm["name"], arm.get("preset", ""), arm.get("set", [])) for arm in raw["arms"]] == [
        ("one", "", []), ("same", "", []), ("other", "", []),
    ]  # fmt: skip
    assert raw.get("set", []) == []
    assert raw["arms"][0]["config"] == raw["arms"][1]["config"] != raw["arms"][2]["config"]
    there = read_study(tmp_path / "study.json")
    for arm in study.arms:
        config = (tmp_path / there.arm(arm.name).config).read_text()
        assert config == with_absolute_paths(study.recipe(arm)).to_json()
    assert override(study.recipe(study.arms[0]), []).optim.beta2 == 0.9
    assert user_data(study) == {"val": "/own/val.csv"}
