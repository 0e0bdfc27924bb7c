"""A job of a study: what it trains, what it measures and takes over, how it ends, all without training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.checkpoint.opening import Subject
from core.evaluation.noise import RankedPair, Ranking
from core.evaluation.report import Report
from core.evaluation.request import Request
from core.metrics.outcome import Outcome, Queries
from core.spec.children import STARTER_VARIABLE
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics, RunStarted
from core.spec.study import Study, StudyDir
from core.studies.study import job
from core.studies.study.job import main, measure, run_config, timing
from tests.core.images import write_pairs


def study_of(folder: Path, measures: list[dict[str, Any]], **more: Any) -> tuple[StudyDir, Study]:
    train, _ = write_pairs(folder)
    content: dict[str, Any] = {
        "name": "small", "size": "tiny", "steps": 6, "seeds": [0, 4], "set": ["optim.batch_size=9"],
        "data": {"train": str(train), "val": str(folder / "val.csv"), "few": str(folder / "val.csv")},
        "arms": [{"name": "base", "preset": "clip"}, {"name": "few", "preset": "clip", "train": "few"}],
        "measures": measures, **more,
    }  # fmt: skip
    out, study = StudyDir(folder / "out"), Study.model_validate(content)
    out.path.mkdir()
    out.study.write_text(study.to_json())
    return out, study


def finished(out: StudyDir, study: Study, networks: tuple[str, ...] = ("student", "teacher")) -> None:
    """The run base of seed 4 as it is after training."""
    run = out.run("base", 4)
    run.create()
    run.config.write_text(override(preset_config("clip", "tiny"), ["optim.batch_size=9"]).to_json())
    (run.checkpoints / "step-00000006").mkdir()
    (run.checkpoints / "step-00000006" / "checkpoint.json").write_text("{}")
    (run.checkpoints / "last").write_text("step-00000006\n")
    for one in networks:
        (run.checkpoints / "step-00000006" / f"{one}.safetensors").write_bytes(b"")


class Measured:
    """Stands in for the evaluators; each number is how often one was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, Request]] = []
        self.ranked: list[str] = []
        monkeypatch.setattr(job, "open_model", lambda name, weights: f"{weights} of {name.rpartition('@')[2]}")
        monkeypatch.setattr(job, "evaluate", self.evaluate)
        monkeypatch.setattr(job, "rank_pairs", self.rank)

    def evaluate(self, model: str, request: Request, *_: Any) -> Report:
        self.asked.append((model, request))
        if request.label == "gone":
            raise UserError("there is no label column gone.")
        number = float(len(self.asked))
        metrics = {"image_to_text_R@1": number, "text_to_image_R@1": number + 1, "acc1": number}
        outcome = Outcome(task="knn", samples=1, metrics=metrics, per_query={"acc1": Queries(np.zeros(1))})
        return Report(Subject(model=model, dataset=request.data), outcome)

    def rank(self, model: str, data: str, progress: Any, weights: str) -> Ranking:
        self.ranked.append(weights)
        pairs = [RankedPair(i, "", "", 0.0, 0.0, i + 1, i == (0 if weights else 1)) for i in range(2)]
        return Ranking("m", data, tuple(pairs), 0)


def test_a_run_has_its_own_data_seed_name_and_steps(tmp_path: Path) -> None:
    out, study = study_of(tmp_path, [{"name": "v", "task": "retrieval", "data": "val"}])
    for arm, rows in zip(study.arms, (36, 12), strict=True):
        config = run_config(out, study, arm, 4, 6)
        assert Path(config.data.train).name == ("train.csv", "val.csv")[rows == 12]
        assert (config.seed, config.name) == (4, f"small {arm.name} s4")
        assert config.optim.epochs == 6 / (rows // 9)
    assert run_config(out, study.model_copy(update={"set": ["optim.batch_size=12"]}), study.arms[1], 0, 6)
    with pytest.raises(UserError, match=r"val\.csv has only 12 pairs; a batch has 13"):
        run_config(out, study.model_copy(update={"set": ["optim.batch_size=13"]}), study.arms[1], 0, 6)


def test_measures_are_requested_with_the_studys_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measures = [
        {"name": "v", "task": "retrieval", "data": "val"},
        {"name": "p", "task": "linear-probe", "data": "val", "label": "kind", "train": "train", "shots": [1, 2],
         "draws": 5, "keep": ["acc1"]},
        {"name": "z", "task": "zero-shot", "data": "val", "templates": "mine.txt", "arms": ["few"]},
        {"name": "n", "task": "noise", "data": "train"},
        {"name": "odd", "task": "knn", "data": "val", "label": "gone"},
    ]  # fmt: skip
    out, study = study_of(tmp_path, measures)
    finished(out, study)
    found = Measured(monkeypatch)
    answer = measure(out, study, study.arms[0], 4)
    val, train = str(tmp_path / "val.csv"), str(tmp_path / "train.csv")
    assert [request for model, request in found.asked if model == "student of last"] == [
        Request(data=val, task="retrieval"),
        Request(data=val, task="linear-probe", label="kind", train=train, shots=(1, 2), draws=5),
        Request(data=val, task="knn", label="gone"),
    ]
    assert [model for model, _ in found.asked] == ["student of last"] * 3 + ["teacher of last"] * 3
    assert found.ranked == ["student", "teacher"]
    student = answer["networks"]["student"]
    assert student["v/R@1"] == 1.5, "the mean of both ways"
    assert {name for name in student if name.startswith("p/")} == {"p/acc1"}
    assert student["n/precision"] == 1.0
    assert answer["networks"].keys() == {"student", "teacher"}
    assert answer["notes"] == [
        f"odd of the {one} could not be measured: there is no label column gone." for one in ("student", "teacher")
    ]
    assert [one["name"] for one in answer["measured"]] == ["v", "p", "n"], "odd is tried again"
    out.measures("base", 4).write_text(json.dumps(answer))
    changed = [*measures[:1], {**measures[1], "label": "shape"}, measures[3]]
    later = Study.model_validate(study.model_dump() | {"measures": changed})
    assert [one.name for one in out.missing_measures(later, "base", 4)] == ["p"]
    again = measure(out, later, later.arms[0], 4)["networks"]["student"]
    assert again["v/R@1"] == 1.5
    assert again["p/acc1"] != student["p/acc1"], "what was measured otherwise is not taken over"
    fewer = Study.model_validate(study.model_dump() | {"measures": measures[:1]})
    assert measure(out, fewer, fewer.arms[0], 4)["networks"]["student"].keys() == {
        name for name in student if name.startswith("v/")
    }


def test_a_pointer_that_is_a_pipe_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, study = study_of(tmp_path, [{"name": "v", "task": "retrieval", "data": "val"}])
    finished(out, study)
    last = out.run("base", 4).checkpoints / "last"
    last.unlink()
    os.mkfifo(last)
    Measured(monkeypatch)
    assert measure(out, study, study.arms[0], 4)["networks"].keys() == {"student", "teacher"}


def test_older_measures_are_matched_by_name(tmp_path: Path) -> None:
    measures = [{"name": name, "task": "retrieval", "data": "val"} for name in ("v", "w")]
    out, study = study_of(tmp_path, measures)
    finished(out, study)
    networks = {"student": {"v/R@1": 0.1, "w/R@1": 0.1}, "teacher": {"v/R@1": 0.1}}
    out.measures("base", 4).write_text(json.dumps({"networks": networks}))
    assert [one.name for one in out.missing_measures(study, "base", 4)] == ["w"]


def test_seconds_of_a_run(tmp_path: Path) -> None:
    """By hand: batches of 9 with twice as many unlabelled rows, steps of 1, 1 and 4 s, the median of which is 1."""
    out, study = study_of(tmp_path, [{"name": "v", "task": "retrieval", "data": "val"}])
    finished(out, study)
    run = out.run("base", 4)
    label = ["optim.batch_size=9", "data.label=kind", "data.unlabelled_ratio=2", "data.train=x.csv"]
    run.config.write_text(override(preset_config("clip", "tiny"), label).to_json())
    events = EventWriter(run.events)
    events.write(RunStarted(step=0, total_steps=3, config_digest="", pairs=36, parameters=5))
    for step, seconds in enumerate((1.0, 1.0, 4.0), 1):
        events.write(Metrics(step=step, values={"train/pairs_per_s": 27 / seconds}))
    events.close()
    assert timing(run) == {
        "steps": 3, "step_seconds": 1.0, "train_seconds": 6.0, "pairs": 36, "parameters": 5,
    }  # fmt: skip


@pytest.fixture
def parentless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "end_with_study", lambda: None)
    monkeypatch.setattr(job, "keep_freed_memory", lambda: True)


@pytest.mark.usefixtures("parentless")
def test_outcomes_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out, study = study_of(tmp_path, [{"name": "v", "task": "retrieval", "data": "val"}])
    trained: list[str] = []
    outcome: Any = "stopped"

    def train(config: Any, run: Any) -> str:
        trained.append(config.name)
        if isinstance(outcome, Exception):
            raise outcome
        finished(out, study, ("student",))
        return str(outcome)

    monkeypatch.setattr(job, "train", train)
    Measured(monkeypatch)
    command = [str(out.path), "base", "4", "6"]
    assert main(command) == 3
    assert not out.measures("base", 4).exists()
    outcome = UserError("there is no room.")
    assert main(command) == 1
    assert capsys.readouterr().err.endswith("error: there is no room.\n")
    outcome = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        main(command)
    for path in (out.run("base", 4).checkpoints / "step-00000006").iterdir():
        path.unlink()
    (out.run("base", 4).checkpoints / "step-00000006").rmdir()
    outcome = "done"
    assert main(command) == 0
    measured = out.read_measures("base", 4)
    assert measured is not None
    assert measured["networks"].keys() == {"student"}
    assert (measured["arm"], measured["seed"]) == ("base", 4)
    assert len(trained) == 4
    assert main(command) == 0
    assert len(trained) == 4, "what is measured is trained"


def test_a_job_ends_with_its_study(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = iter([True, True, False])
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *at: sent.append(at))
    with monkeypatch.context() as patch:
        patch.setattr(job, "is_running", lambda pid, started: pid == os.getppid() and next(alive))
        patch.setattr(job, "time", SimpleNamespace(sleep=lambda seconds: None))
        job._end_with(os.getppid())
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_a_job_ends_if_its_study_exited_before_its_libraries_were_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    study = subprocess.Popen([sys.executable, "-c", ""])
    study.wait()
    ended = threading.Event()
    monkeypatch.setattr(os, "kill", lambda *at: ended.set())
    monkeypatch.setenv(STARTER_VARIABLE, str(study.pid))
    job.end_with_study()
    assert ended.wait(60)
