"""What version 0.1 wrote is read: a paused run is resumed, its index searched, its database opened, nothing lost.

``tests/fixtures/v0.1`` was written by that version in ``/srv/demo``; its paths are changed to where a test lays it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.__main__ import main
from core.checkpoint.opening import open_model
from core.spec.config import read_config
from core.spec.run.events import EventReader, Metrics, RunFinished
from core.spec.run.folder import RunDir
from core.training.train import train
from sdgui.store.store import DATABASE, Store

FIXTURES = Path(__file__).parent.parent / "fixtures" / "v0.1"
WRITTEN_IN = "/srv/demo"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The files of version 0.1, moved here."""
    here = tmp_path / "demo"
    shutil.copytree(FIXTURES, here)
    for name in ("paused/config.json", "paused/checkpoints/step-00000008/checkpoint.json"):
        text = (here / name).read_text(encoding="utf-8")
        assert WRITTEN_IN in text
        (here / name).write_text(text.replace(WRITTEN_IN, str(here)), encoding="utf-8")
    return here


def test_a_paused_run_goes_on_as_it_would_have(older: Path) -> None:
    """The first step after the pause has the loss that version 0.1 had: the same weights, draws and teacher."""
    run = RunDir(older / "paused")
    assert train(read_config(run.config), run, quiet=True) == "done"
    events = EventReader(run.events).read_all()
    metrics = {event.step: event.values for event in events if isinstance(event, Metrics)}
    assert sorted(metrics) == list(range(1, 17))
    then = json.loads((older / "step9.json").read_text(encoding="utf-8"))
    for name in ("train/loss", "train/contrastive", "train/distill_similarity", "train/distill_prototypes"):
        assert metrics[9][name] == pytest.approx(then[name], rel=1e-5), name  # another machine adds in another order
    assert isinstance(events[-1], RunFinished)
    assert events[-1].outcome == "done"


def test_a_checkpoint_is_opened_and_judged_alike(older: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = open_model(str(older / "paused"), "teacher").network
    assert sum(value.numel() for value in network.state_dict().values()) > 200_000
    data = str(older / "pairs" / "val.csv")
    command = [
        "evaluate",
        str(older / "paused"),
        "--data",
        data,
        "--task",
        "retrieval",
        "--weights",
        "teacher",
        "--json",
    ]
    assert main(command) == 0
    now = json.loads(capsys.readouterr().out)
    then = json.loads((older / "retrieval.json").read_text(encoding="utf-8"))
    assert now["metrics"] == pytest.approx(then["metrics"])
    assert now["samples"] == then["samples"]


def test_an_index_is_searched(older: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", str(older / "paused")]
    assert main(["search", str(older / "index"), "--text", "a red disc", "-k", "3", "--json", *model]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [Path(row["path"]).name for row in answer["rows"]] == ["13.png", "9.png", "5.png"]
    assert answer["rows"][0]["cosine"] == pytest.approx(-0.66243, abs=1e-3)


def test_a_database_keeps_everything(older: Path) -> None:
    home = older / "home"
    home.mkdir()
    shutil.copy(older / "sdgui.db", home / DATABASE)
    store = Store.open(home)
    first, copy = store.experiments()
    assert (first.name, first.tags, first.note) == ("Imported", ("demo",), "an experiment")
    assert copy.name == "Copy"
    assert first.config is not None
    assert first.config.objectives.distill_prototypes.prototypes == 16
    run, queued = store.runs()
    assert (run.key, run.step, run.total_steps, run.ending) == ("paused", 8, 16, "paused")
    assert (run.tags, run.note) == (("paper", "ünïcode"), "first\nnote")
    assert run.best is not None
    assert run.best.value == 0.625
    assert queued.queue_position == 0
    assert store.summaries([run.id])[run.id]["train/loss"].last == pytest.approx(2.0908038)
    assert len(store.pair_marks(f"{WRITTEN_IN}/pairs/train.csv")) == 2
    captions, _ = store.captions()
    assert [caption.text for caption in captions] == ["a hand-written caption", "a red square"]
    assert [study.name for study in store.studies()] == ["little"]
