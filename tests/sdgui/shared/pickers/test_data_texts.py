"""What is said of data and of pretrained weights, which splits belong together, and the picker's ways to choose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QFileDialog, QInputDialog, QMenu
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import preset_config
from sdgui.shared.pickers import pretrained
from sdgui.shared.pickers.data import DataPicker
from sdgui.shared.pickers.data_card import figures_text, overlap_text
from sdgui.shared.pickers.pretrained import Pretrained
from sdgui.shared.pickers.splits import splits_beside
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.store.store import Store
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.verbs import SourceFacts
from tests.sdgui.panels.scripted_workers import services_in


def test_splits_are_those_used_together_or_in_one_folder(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    for name in ("older", "newer"):
        named = [f"data.train=/{name}.csv", "data.val=/shared.csv"]
        store.add_experiment(override(preset_config("clip", "tiny"), named), name)
    store.add_experiment('{"name": "x", "optim": {"epochs": -1}}')
    assert splits_beside(store, "/shared.csv") == {"train": "/newer.csv"}, "of the newest"
    assert splits_beside(store, "/older.csv") == {"val": "/shared.csv"}
    for name in ("training.csv", "dev.csv", "validation.csv", "test.tsv"):
        (tmp_path / name).touch()
    assert splits_beside(store, str(tmp_path / "Training.csv")) == {"val": str(tmp_path / "validation.csv")}
    assert splits_beside(store, str(tmp_path / "dev.csv")) == {"train": str(tmp_path / "training.csv")}
    assert splits_beside(store, str(tmp_path / "pairs.csv")) == {}
    store.close()

    class Closed:
        def experiments(self) -> None:
            raise StoreError("It is out of reach.")

    closed: Any = Closed()
    assert splits_beside(closed, str(tmp_path / "dev.csv")) == {"train": str(tmp_path / "training.csv")}


def test_one_image_and_one_class_are_singular() -> None:
    facts: SourceFacts = {
        "source": "/a.csv", "format": "CSV", "pairs": 1, "images": 1,
        "labels": {"tone": 1, "form": 2}, "bad": 1, "reasons": [],
    }  # fmt: skip
    assert figures_text(facts) == "1 pair · 1 image · tone: 1 class · form: 2 classes · 1 bad row · CSV"
    assert overlap_text(facts, {"val": "/b.csv"}, {"/b.csv": 1}) == "1 image (100.0 %) also in val"


def test_downloaded_weights_come_first_and_studies_last() -> None:
    models = [
        Pretrained("a", "commonpool_s", False, False, 5), Pretrained("b", "x", False, False, 0),
        Pretrained("c", "x", False, False, 9), Pretrained("d", "x", False, True, 99),
        Pretrained("e", "x", False, False, 7),
    ]  # fmt: skip
    assert [model.architecture for model in sorted(models, key=pretrained._rank)] == ["d", "e", "c", "b", "a"]
    assert models[1].name == "b,x"
    assert Pretrained("a", "mscoco_finetuned_laion", True, False, 0).only_captions


@pytest.fixture
def services(qapp: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """No worker is asked anything."""
    monkeypatch.setattr(WorkerCalls, "ask", lambda *_args, **_more: None)
    with services_in(tmp_path / "home") as services:
        yield services


@pytest.fixture
def picker(qtbot: QtBot, services: Services) -> DataPicker:
    picker = DataPicker(services)
    qtbot.addWidget(picker)
    picker.show()
    return picker


def test_data_are_chosen_as_a_file_a_folder_or_shards(
    picker: DataPicker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    starts: list[str] = []
    answers = ["", "/a/pairs.csv", "", "/a/images", ("/x.tar", False), ("  ", True), (" /a/{00..09}.tar ", True)]

    def file(_over: object, _title: str, start: str, _kinds: str) -> tuple[str, str]:
        starts.append(start)
        return str(answers.pop(0)), ""

    def folder(_over: object, _title: str, start: str) -> str:
        starts.append(start)
        return str(answers.pop(0))

    monkeypatch.setattr(QFileDialog, "getOpenFileName", file)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", folder)
    monkeypatch.setattr(QInputDialog, "getText", lambda *_args, text: answers.pop(0))
    sources: list[str] = []
    picker.changed.connect(sources.append)
    assert not picker._card_button.isEnabled()
    for row in (0, 0, 1, 1, 2, 2, 2):
        picker._browse_button.click()
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        menu.actions()[row].trigger()
        menu.close()
    assert sources == ["/a/pairs.csv", "/a/images", "/a/{00..09}.tar"]
    assert starts == ["", "", "/a", "/a"]
    assert (picker._card_button.isEnabled(), picker.figures.text()) == (True, "Counting…")
    stored = json.loads(str(picker._services.settings.value("data/recent")))
    assert stored == ["/a/{00..09}.tar"], "what is not there is not remembered with the next"
    picker.set_source("")
    assert (picker.box.currentIndex(), picker._card_button.isEnabled(), picker.figures.isVisible()) == (
        -1,
        False,
        False,
    )


def test_unreadable_experiments_offer_no_data(picker: DataPicker, monkeypatch: pytest.MonkeyPatch) -> None:
    store = picker._services.store
    store.add_experiment(override(preset_config("clip", "tiny"), ["data.train=/a.csv"]), "mine")
    store.add_experiment('{"name": "x", "optim": {"epochs": -1}}')
    picker.refresh()
    assert [picker.box.itemText(row) for row in range(picker.box.count())] == ["mine · training data"]

    def gone() -> None:
        raise StoreError("It is out of reach.")

    monkeypatch.setattr(store, "experiments", gone)
    picker.refresh()
    assert picker.box.count() == 0
