"""The data picker with a worker in miniature that counts slowly, quickly or not at all."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QInputDialog
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from sdgui.shared.pickers.data import DataPicker
from sdgui.shared.pickers.data_card import DataCard
from sdgui.shared.pickers.data_check import DataCheck
from sdgui.shared.pickers.data_facts import DataFacts
from sdgui.shared.pickers.refusals import refusals
from sdgui.shared.services import Services
from sdgui.worker.replies import Cancelled, Failure, Lost
from sdgui.worker.verbs import SourceFacts
from tests.sdgui.panels.scripted_workers import services_in

WORKER = textwrap.dedent(
    """
    import json, sys
    def say(**reply):
        print(json.dumps(reply), flush=True)
    say(event="ready")
    waiting = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "shutdown":
            break
        if asked["do"] == "cancel":
            say(id=asked["id"], event="failed", message="cancelled", details="")
            continue
        source = asked["source"]
        if source.endswith("slow"):
            say(id=asked["id"], event="progress", doing="counting images", done=1234, total=0)
        elif source.endswith("broken.csv"):
            say(id=asked["id"], event="failed", message="It has no column title.\\nline two", details="")
        else:
            say(id=asked["id"], event="done", result={
                "source": source, "format": "CSV", "pairs": 4100, "images": 1, "labels": {"concept": 55},
                "bad": 3, "reasons": ["line 2: gone"], "only": asked["images_only"]})
    """
)


@pytest.fixture
def services(qapp: object, tmp_path: Path) -> Iterator[Services]:
    (tmp_path / "worker.py").write_text(WORKER)
    with services_in(tmp_path / "home", [sys.executable, "-S", "-u", str(tmp_path / "worker.py")]) as services:
        yield services


@pytest.fixture
def picker(qtbot: QtBot, services: Services) -> DataPicker:
    picker = DataPicker(services)
    qtbot.addWidget(picker)
    picker.show()
    return picker


def test_known_sources_come_from_experiments_and_recent_choices(
    services: Services, qtbot: QtBot, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        config = override(preset_config("clip", "tiny"), [f"data.train={tmp_path}/{name}.csv", "data.val=/both.csv"])
        services.store.add_experiment(config, name)
    (tmp_path / "recent.csv").touch()
    services.settings.setValue("data/recent", f'["{tmp_path}/recent.csv", "/gone.csv", 3]')
    picker = DataPicker(services)
    qtbot.addWidget(picker)
    picker.show()
    qtbot.waitUntil(lambda: picker.box.count() > 0)
    titles = [picker.box.itemText(row) for row in range(picker.box.count())]
    recent = f"{tmp_path.name}/recent.csv"
    assert titles == [recent, "two · validation data", "two · training data", "one · training data"]
    assert picker.source() == ""
    assert picker.box.currentIndex() == -1


def test_a_shard_pattern_is_typed_and_remembered(
    services: Services, picker: DataPicker, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern is no file, and is offered again without being looked for."""
    labels: list[str] = []

    def answer(_parent: object, _title: str, label: str, text: str) -> tuple[str, bool]:
        labels.append(text)
        return " /data/{000..099}.tar ", "{00000..00099}.tar" in label

    monkeypatch.setattr(QInputDialog, "getText", answer)
    with qtbot.waitSignal(picker.described, timeout=10000):
        picker._ask_for_shards()
    assert picker.source() == "/data/{000..099}.tar"
    picker._ask_for_shards()
    assert labels == ["", "/data/{000..099}.tar"]
    second_picker = DataPicker(services)
    qtbot.addWidget(second_picker)
    second_picker.show()
    qtbot.waitUntil(lambda: second_picker.box.count() > 0)
    assert second_picker.box.itemData(0) == "/data/{000..099}.tar"


def test_a_choice_is_announced_and_counted(services: Services, picker: DataPicker, qtbot: QtBot) -> None:
    sources: list[str] = []
    facts: list[dict[str, Any]] = []
    picker.changed.connect(sources.append)
    picker.described.connect(facts.append)
    picker.set_source("/data/pairs.csv")
    assert sources == ["/data/pairs.csv"]
    assert "Counting" in picker.figures.text()
    qtbot.waitUntil(lambda: len(facts) == 1, timeout=10000)
    assert facts[0]["pairs"] == 4100
    assert facts[0]["only"] is False
    assert picker.facts() == facts[0]
    assert picker.figures.text() == "4,100 pairs · 1 image · concept: 55 classes · 3 bad rows · CSV"
    assert "line 2: gone\nand 2 more" in picker.figures.toolTip()
    picker.set_source("/data/pairs.csv")
    assert len(sources) == 1


def test_an_older_request_is_cancelled(picker: DataPicker, qtbot: QtBot) -> None:
    facts: list[dict[str, Any]] = []
    picker.described.connect(facts.append)
    picker.set_source("/data/slow")
    qtbot.waitUntil(lambda: "1,234" in picker.figures.text(), timeout=10000)
    picker.set_source("/data/pairs.csv")
    qtbot.waitUntil(lambda: len(facts) == 1)
    assert facts[0]["source"] == "/data/pairs.csv"
    picker.set_source("")
    assert not picker.figures.isVisible()


def test_unreadable_sources_give_the_reason(picker: DataPicker, qtbot: QtBot, tmp_path: Path) -> None:
    refused: list[str] = []
    picker.refused.connect(refused.append)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "broken.csv"))])
    action, button = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    picker.dropEvent(QDropEvent(QPointF(3, 3), action, data, button, Qt.KeyboardModifier.NoModifier))
    qtbot.waitUntil(lambda: bool(refused), timeout=10000)
    assert picker.figures.text() == "It has no column title."
    assert "line two" in picker.figures.toolTip()
    assert picker.figures.property("role") == "error"
    assert picker.facts() is None


def test_the_overlap_of_splits_is_shown_once_known(qtbot: QtBot, services: Services) -> None:
    facts = DataFacts(services)
    card = DataCard(facts)
    qtbot.addWidget(card)
    facts.facts = {
        "source": "a.csv", "format": "CSV", "pairs": 9, "images": 9, "labels": {}, "bad": 0, "reasons": [],
    }  # fmt: skip
    card.set_other_splits({"validation": "/p/val.csv"})
    before = card.overlap.text()
    facts._on_overlap({"shared": {"/p/val.csv": 3}})
    assert "3" not in before
    assert "3" in card.overlap.text()
    assert "validation" in card.overlap.text()
    assert card.overlap.property("role") == "warning", "training may still be meant"
    assert "score look better" in card.overlap.toolTip()


def test_a_held_out_tenth_is_written_to_the_home_not_to_the_users_folder(
    qtbot: QtBot, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, requests = DataFacts(services), list[dict[str, object]]()
    monkeypatch.setattr(facts._checks, "ask", lambda *_answers, **request: requests.append(request))
    facts.source = "/photos/pairs.csv"
    (services.store.home / "data" / "pairs").mkdir(parents=True)
    facts.hold_out()
    assert requests[0]["folder"] == str(services.store.home / "data" / "pairs-2")


def test_splitting_shows_progress_and_can_be_repeated(
    qtbot: QtBot, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, requests = DataFacts(services), list[None]()
    monkeypatch.setattr(facts, "hold_out", lambda: requests.append(None))
    card = DataCard(facts)
    qtbot.addWidget(card)
    card.show()
    facts.progress.emit("counting rows", 1200)
    assert card.figures.text().startswith("Counting rows … 1")
    facts.facts = {
        "source": "a.csv", "format": "CSV", "pairs": 9, "images": 9, "labels": {}, "bad": 0, "reasons": [],
    }  # fmt: skip
    assert card.hold_out.isHidden()
    card.show_facts()
    assert card.hold_out.isVisible()
    card.hold_out.click()
    assert (len(requests), card.hold_out.isEnabled()) == (1, False)
    assert (card.overlap.text(), card.overlap.isVisible()) == ("Splitting off 10 %…", True)
    facts.not_held_out.emit(Failure("There is no room."))
    assert (card.overlap.text(), card.hold_out.isEnabled()) == ("There is no room.", True)
    facts.held_out.emit("/p/train.csv", "/p/held.csv")
    assert card.overlap.text() == "Written: /p/train.csv and held.csv"
    card.set_writable(False)
    assert card.hold_out.isHidden()


def config(*settings: str) -> RunConfig:
    return override(preset_config("clip", "tiny"), ["data.train=/t.csv", "optim.batch_size=8", *settings])


def facts(**changed: Any) -> SourceFacts:
    values: Any = {"source": "/t.csv", "format": "CSV", "pairs": 90, "images": 80, "labels": {"kind": 3, "one": 1}}
    values |= {"bad": 0, "reasons": []}
    return values | changed  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("settings", "known", "field", "words"),
    [
        ((), Failure("There is no data at /t.csv; check the path."), "data.train", "no data at"),
        ((), facts(pairs=0, images=7), "data.train", "no caption"),
        ((), facts(bad=20, reasons=["line 2: gone"]), "data.train", "20 of the 100 rows"),
        (("data.label=sort",), facts(), "data.label", "'kind'"),
        (("data.label=one",), facts(), "data.label", "needs two or more"),
        (("optim.batch_size=81",), facts(), "optim.batch_size", "at most 80"),
    ],
)
def test_errors_are_shown_at_their_field(settings: tuple[str, ...], known: Any, field: str, words: str) -> None:
    problems = refusals(config(*settings), {"/t.csv": known})
    assert list(problems) == [field]
    assert words in problems[field]


@pytest.mark.parametrize("known", [Cancelled(), Lost("The worker exited."), Failure("KeyError: 'x'", "Traceback")])
def test_a_failing_worker_gives_no_verdict_on_the_data(known: Failure) -> None:
    assert refusals(config(), {"/t.csv": known}) == {}


def test_every_source_is_requested_from_a_worker(qtbot: QtBot, services: Services) -> None:
    check, said = DataCheck(services.pool), list[dict[str, str]]()
    check.check(config("data.train="), said.append)
    assert list(said[0]) == ["data.train"]
    check.check(config(), said.append)  # superseded, and never heard of
    check.check(config("data.train=/a/broken.csv", "data.val=/b/broken.csv"), said.append)
    qtbot.waitUntil(lambda: len(said) > 1)
    assert len(said) == 2
    assert said[1].keys() == {"data.train", "data.val"}
    assert "It has no column title." in said[1]["data.train"]
