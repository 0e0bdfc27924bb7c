"""What is asked of a model that captions: one request after another, nothing twice, and what is left after an end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from pytestqt.qtbot import QtBot

from core.data.sources.opening import open_source
from core.spec.config import RunConfig, override
from core.spec.files import write_whole
from core.spec.generation import GenerationSettings
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.app.start import make_application, make_services
from sdgui.panels.caption import maker as caption_maker
from sdgui.panels.caption.maker import Answer, CaptionMaker, fit_to_context
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.actions import Actions
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Cancelled, Failure
from tests.core.images import write_pairs
from tests.sdgui.panels.scripted_workers import Worker, Workers

FACTS = {
    "model": "m", "pretrained": "", "weights": "", "step": 30, "digest": "d", "precision": "fp32", "device": "cpu",
    "max_tokens": 12, "image_size": 32, "notes": [],
}  # fmt: skip
ONE, TWO = ModelChoice("one", "", "one"), ModelChoice("two", "teacher", "two")


class Made:
    """A maker over workers in miniature, and what it told."""

    def __init__(self) -> None:
        self.workers = Workers()
        self.maker = CaptionMaker(cast(WorkerPool, self.workers))
        self.answers: list[Answer] = []
        self.ends: list[Any] = []
        self.progress: list[tuple[str, int, int]] = []
        self.notes: list[str] = []
        self.maker.captioned.connect(self.answers.extend)
        self.maker.finished.connect(lambda *numbers: self.ends.append(numbers))
        self.maker.failed.connect(self.ends.append)
        self.maker.progress.connect(lambda *figures: self.progress.append(figures))
        self.maker.note_received.connect(self.notes.append)

    def make(self, *paths: str, choice: ModelChoice = ONE) -> Worker:
        self.maker.queue(choice, paths, GenerationSettings(captions=3))
        return self.workers[choice.model]


def caption(worker: Worker, index: int) -> None:
    """The answer for one image of the request."""
    worker.say("caption", index=index, captions=[{"text": f"image {index}", "log_prob": -1.0, "score": -0.5}])


@pytest.fixture
def made(qapp: object) -> Made:
    return Made()


def test_images_are_requested_in_batches_one_request_at_a_time(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_maker, "_IMAGES_PER_REQUEST", 2)
    worker = made.make("a", "b", "c")
    worker.progress.emit(1, "reading the weights", 0, 0)
    assert made.progress == [("Opening the model", 0, 3), ("Reading the weights", 0, 3)]
    worker.answer("caption_open", FACTS)
    assert worker.asked[-1][1]["paths"] == ["a", "b"]
    worker.progress.emit(2, "captioning", 1, 2)
    assert made.progress[-1] == ("Captioning", 1, 3)
    assert worker.asked[-1][1]["settings"]["max_tokens"] == 12
    assert all(made.maker.is_queued(path) for path in "abc")
    caption(worker, 0)
    worker.say("caption", index=1, error="it is no image")
    worker.say("caption", note="cut to 12 tokens")
    worker.answer("caption", {})
    assert not made.maker.is_queued("a"), "it may be asked for again"
    assert made.maker.is_queued("c")
    assert made.progress[-1] == ("Opening the model", 2, 3)
    worker.answer("caption_open", FACTS)
    assert worker.asked[-1][1]["paths"] == ["c"]
    worker.progress.emit(4, "captioning", 0, 1)
    assert made.progress[-1] == ("Captioning", 2, 3)
    caption(worker, 0)
    worker.answer("caption", {})
    assert [(answer.path, answer.error) for answer in made.answers] == [
        ("a", ""),
        ("b", "it is no image"),
        ("c", ""),
    ]
    assert made.ends == [(2, 1)]
    assert made.notes == ["cut to 12 tokens"]
    assert made.progress[-1] == ("Captioning", 3, 3)
    assert not made.maker.busy
    made.make("d").answer("caption_open", FACTS)
    caption(worker, 0)
    worker.answer("caption", {})
    assert made.ends == [(2, 1), (1, 0)], "a new beginning counts anew"


def test_a_model_is_preloaded_unless_it_cannot_be(made: Made) -> None:
    made.maker.cancel()
    made.maker.open(ONE)
    worker = made.workers["one"]
    assert worker.asked == [("caption_open", {"model": "one", "weights": ""})]
    made.maker.cancel()
    assert worker.cancelled == [], "it is no captioning"
    worker.answer("caption_open", FACTS)
    assert made.ends == []
    made.maker.open(ONE)
    worker.fail("caption_open", Failure("It is gone."))
    assert [str(one.text) for one in made.ends] == ["It is gone."]
    made.make("a")
    count = len(worker.asked)
    made.maker.open(ONE)
    assert len(worker.asked) == count, "it is being opened"
    worker.answer("caption_open", FACTS)
    worker.say("caption", note="it is cut")
    worker.say("caption", index=5, path="/elsewhere.png", error="it is torn")
    assert (made.notes, [(answer.path, answer.error) for answer in made.answers]) == (
        ["it is cut"], [("/elsewhere.png", "it is torn")]
    )  # fmt: skip


def test_after_a_failure_all_unanswered_images_remain(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_maker, "_IMAGES_PER_REQUEST", 2)
    worker = made.make("a", "b", "c")
    worker.answer("caption_open", FACTS)
    caption(worker, 0)
    worker.failed.emit(len(worker.asked), Failure("It ended."))
    assert made.maker.remaining == ["b", "c"]
    assert isinstance(made.ends[0], Failure)
    assert not made.maker.is_queued("b")
    assert not made.maker.busy


def test_a_failed_recaptioning_remains_though_an_older_answer_exists(made: Made) -> None:
    worker = made.make("a")
    worker.answer("caption_open", FACTS)
    caption(worker, 0)
    worker.answer("caption", {})
    made.make("a").answer("caption_open", FACTS)
    worker.failed.emit(len(worker.asked), Failure("It ended."))
    assert made.maker.remaining == ["a"]


def test_stopped_images_remain_though_the_worker_finishes(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_maker, "_IMAGES_PER_REQUEST", 1)
    worker = made.make("a", "b", "c")
    worker.answer("caption_open", FACTS)
    made.maker.cancel()
    assert worker.cancelled
    assert not made.maker.is_queued("b")
    caption(worker, 0)
    worker.answer("caption", {})
    assert (made.answers, made.maker.remaining) == ([], ["a", "b", "c"])
    assert isinstance(made.ends[-1], Cancelled)
    made.maker.drop()
    made.make("b").answer("caption_open", FACTS)
    made.maker.drop()
    assert not made.maker.is_queued("b")
    assert not made.maker.busy


def test_settings_fit_the_context_of_the_model() -> None:
    long = GenerationSettings(captions=1, max_tokens=40, min_tokens=20)
    assert (fit_to_context(long, 12).max_tokens, fit_to_context(long, 12).min_tokens) == (12, 12)
    assert fit_to_context(long, 64) == long


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of sd-coca on a few shapes."""
    pairs, held_out = write_pairs(tmp_path / "pairs")
    fields = [f"data.train={pairs}", f"data.val={held_out}", "optim.batch_size=12", "optim.epochs=1"]
    write_whole(tmp_path / "x.json", override(preset_config("sd-coca", "tiny"), fields).to_json().encode())
    command = [sys.executable, "-m", "core", "train", str(tmp_path / "x.json"), str(tmp_path / "run")]
    subprocess.run(command, check=True, capture_output=True)
    return RunDir(tmp_path / "run")


@pytest.mark.slow
def test_captions_of_a_run_become_the_next_runs_training_data(
    qtbot: QtBot, run: RunDir, home: Path, tmp_path: Path, qapp: Callable[..., object]
) -> None:
    make_application()
    services = make_services(home)
    imported = services.store.import_run(run.path)
    panel = CaptionsPanel(services)
    panel.set_actions(Actions(panel))
    panel.show()
    panel.on_enter()
    assert panel.view.tools.pickers["a"].set_choice(ModelChoice(f"{run.path}@last", "teacher", "tiny", imported.id))
    given = sorted(str(path) for path in (tmp_path / "pairs").glob("*.png"))[:5]
    broken = tmp_path / "pairs" / "broken.png"
    broken.write_bytes(Path(given[0]).read_bytes()[:60])
    panel.view.target.accept_paths([*given, broken])
    qtbot.waitUntil(lambda: len(panel.model) == 6 and not panel.work.busy, timeout=90000)
    entries = panel.model.entries()
    assert [entry.state for entry in entries] == ["captioned"] * 5 + ["failed"]
    assert "damaged or truncated" in entries[5].error
    origin = panel._origins[entries[0].captions["a"].origin]
    assert (origin["weights"], len(origin["digest"]), origin["settings"]["beams"]) == ("teacher", 16, 6)
    assert len(entries[0].captions["a"].candidates) == 3
    panel.edits.set_typed_text(entries[0].path, "a disc")
    panel.files.save_training_data()
    qtbot.waitUntil(lambda: not panel.files.task.running, timeout=10000)
    asked: list[RunConfig] = []
    panel.new_experiment_requested.connect(asked.append)
    panel.view.bar.press_remedy()
    assert asked[0].preset == "sd-coca"
    assert asked[0].data.val == str(tmp_path / "pairs" / "val.csv")
    rows = open_source(asked[0].data.train).rows
    expected = {Path(entry.path): entry.text for entry in panel.model.entries() if entry.text}
    assert {row.image.resolve(): row.captions[0] for row in rows} == expected
    assert rows[0].captions == ("a disc",)
    panel.work.makers["a"].drop()
    panel.persistence.close()
    panel.view.list.close_threads()
    services.pool.close()
    services.store.close()
    panel.close()
