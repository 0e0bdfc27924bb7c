"""What is said of data and of pretrained weights, which splits belong together, and the picker's ways to choose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QInputDialog, QMenu
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import preset_config
from sdgui.runs.models import Weights
from sdgui.shared.pickers import pretrained
from sdgui.shared.pickers.data import DataPicker
from sdgui.shared.pickers.data_card import DataCard, figures_text, more_text, overlap_text, reasons_text
from sdgui.shared.pickers.data_facts import DataFacts, failure_lines
from sdgui.shared.pickers.pretrained import Pretrained, hub_cache, size_text
from sdgui.shared.pickers.splits import splits_beside
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.store.store import Store
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.scripted_workers import services_in


def facts(**more: Any) -> Any:
    fields = {"source": "a.csv", "format": "CSV", "pairs": 9, "images": 8, "labels": {}, "bad": 0, "reasons": []}
    return fields | more


def test_statistics_use_singular_and_plural() -> None:
    assert figures_text(facts(pairs=1, images=1, bad=1)) == "1 pair · 1 image · 1 bad row · CSV"
    assert figures_text(facts(labels={"kind": 1200})) == "9 pairs · 8 images · kind: 1\u2009200 classes · CSV"
    assert figures_text(facts(pairs=0, bad=2)) == "8 images · 2 bad rows · CSV"


@pytest.mark.parametrize(
    ("captions", "text"),
    [
        ([], ""),
        ([8, 0, 0], "one caption per image"),
        ([0, 8, 0], "2 captions per image"),
        ([0, 0, 8], "3 or more captions per image"),
        ([2, 0, 1200], "captions per image 1: 2, 3+: 1\u2009200"),
    ],
)
def test_captions_per_image_as_text(captions: list[int], text: str) -> None:
    assert more_text(facts(captions=captions)) == text
    skipped = "skipped: line 2"
    assert more_text(facts(captions=captions, reasons=["line 2"])) == (f"{text} · {skipped}" if text else skipped)


def test_reasons_are_listed_with_the_number_of_others() -> None:
    assert reasons_text(facts(bad=3, reasons=["line 2: gone", "line 4: gone"])).splitlines()[2:] == [
        "Skipped:", "line 2: gone", "line 4: gone", "and 1 more"
    ]  # fmt: skip
    assert "more" not in reasons_text(facts(bad=1, reasons=["line 2: gone"]))
    assert failure_lines(Failure("one\ntwo", "details")) == ("one", "one\ntwo\ndetails")
    assert failure_lines(Failure("")) == ("The data cannot be read.", "")


def test_the_overlap_of_splits_as_text() -> None:
    splits = {"val": "/v.csv", "test": "/t.csv", "train": "/x.csv"}
    assert overlap_text(None, splits, {"/v.csv": 1}) == overlap_text(facts(images=0), splits, {"/v.csv": 1}) == ""
    assert overlap_text(facts(), splits, {}) == ""
    assert overlap_text(facts(), splits, {"/v.csv": 2, "/t.csv": 0}) == (
        "2 images (25.0 %) are in val too · no image is in test too"
    )
    assert overlap_text(facts(), splits, {"/v.csv": 0, "/t.csv": 0}) == "no image is in val or test too"


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


def test_sizes_and_locations_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [size_text(size) for size in (0, 400_000, 605_000_000, 999_999_999, 1_000_000_000, 4_040_000_000)] == [
        "", "1 MB", "605 MB", "1000 MB", "1.0 GB", "4.0 GB"
    ]  # fmt: skip
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert hub_cache() == Path.home() / ".cache" / "huggingface" / "hub"
    for name, expected in (
        ("XDG_CACHE_HOME", "/c/huggingface/hub"), ("HF_HOME", "/c/hub"), ("HUGGINGFACE_HUB_CACHE", "/c"),
        ("HF_HUB_CACHE", "/d"),
    ):  # fmt: skip
        monkeypatch.setenv(name, "/d" if name == "HF_HUB_CACHE" else "/c")
        assert hub_cache() == Path(expected), name
    snapshot = tmp_path / "hub" / "models--timm--vit" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "open_clip_model.safetensors").write_bytes(bytes(30))
    (snapshot / "own.safetensors").write_bytes(bytes(20))
    (tmp_path / "plain.pt").write_bytes(bytes(10))

    def size(hub: str, url: str = "") -> int:
        return pretrained._downloaded_size(Weights(hub=hub, url=url), tmp_path / "hub", tmp_path)

    assert [size("timm/vit/"), size("timm/vit/own.bin"), size("timm/other/"), size("")] == [30, 20, 0, 0]
    assert [size("", "https://x/plain.pt"), size("timm/other/", "https://x/plain.pt")] == [10, 10]


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
    assert not picker._show_card.isEnabled()
    for row in (0, 0, 1, 1, 2, 2, 2):
        picker._browse.click()
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        menu.actions()[row].trigger()
        menu.close()
    assert sources == ["/a/pairs.csv", "/a/images", "/a/{00..09}.tar"]
    assert starts == ["", "", "/a", "/a"]
    assert (picker._show_card.isEnabled(), picker.figures.text()) == (True, "Counting …")
    stored = json.loads(str(picker._services.settings.value("data/recent")))
    assert stored == ["/a/{00..09}.tar"], "what is not there is not remembered with the next"
    picker.set_source("")
    assert (picker.box.currentIndex(), picker._show_card.isEnabled(), picker.figures.isVisible()) == (-1, False, False)


def test_the_picker_shows_progress_and_result_of_counting(picker: DataPicker) -> None:
    refused: list[str] = []
    picker.refused.connect(refused.append)
    picker.set_source("/a.csv")
    about = picker._about
    about.progress.emit("counting rows", 0)
    assert picker.figures.text() == "Counting …"
    about.progress.emit("counting rows", 1200)
    assert picker.figures.text() == "Counting rows … 1\u2009200"
    about._on_described(facts())
    assert picker.figures.text() == "9 pairs · 8 images · CSV"
    about.progress.emit("counting rows", 9)
    assert picker.figures.text() == "9 pairs · 8 images · CSV", "it is known"
    about.refused.emit(Cancelled())
    assert (picker.figures.text(), refused) == ("Counting was cancelled.", [])
    about.refused.emit(Failure("No column.\nAdd it."))
    assert (picker.figures.text(), picker.figures.property("role"), refused) == (
        "No column.", "error", ["No column.\nAdd it."]
    )  # fmt: skip
    assert picker.box.accessibleDescription() == "No column."


def test_the_card_compares_splits_and_lists_the_held_out_one(picker: DataPicker, tmp_path: Path) -> None:
    for name in ("train.csv", "val.csv", "rest.csv", "tenth.csv"):
        (tmp_path / name).touch()
    held: list[tuple[str, str]] = []
    picker.held_out.connect(lambda *paths: held.append(paths))
    picker.set_source(str(tmp_path / "train.csv"))
    picker._about._on_described(facts())
    picker._show_card.click()
    card, popup = picker.card, picker._popup
    assert card is not None
    assert popup is not None
    assert (popup.isVisible(), card._other_splits) == (True, {"val": str(tmp_path / "val.csv")})
    assert popup.width() >= picker.width()
    picker.show_card()
    assert picker.card is card
    picker.hold_out()
    assert not card.hold_out.isEnabled()
    picker._about.held_out.emit(str(tmp_path / "rest.csv"), str(tmp_path / "tenth.csv"))
    assert held == [(str(tmp_path / "rest.csv"), str(tmp_path / "tenth.csv"))]
    titles = [picker.box.itemText(row) for row in range(3)]
    assert titles == [f"{tmp_path.name}/{name}" for name in ("rest.csv", "tenth.csv", "train.csv")]
    assert picker.box.currentData() == str(tmp_path / "train.csv"), "what was chosen stays"
    popup.hide()


def test_a_card_shows_known_facts_and_offers_to_inspect(qtbot: QtBot, services: Services) -> None:
    about = DataFacts(services)
    plain, card = DataCard(about), DataCard(about, look=True)
    for shown_card in (plain, card):
        qtbot.addWidget(shown_card)
        shown_card.show()
    looked: list[str] = []
    card.look_requested.connect(looked.append)
    assert (plain.look.isVisible(), card.look.isVisible(), card.figures.text()) == (False, True, "")
    about.set_source("/a.csv")
    card.look.click()
    assert looked == ["/a.csv"]
    for images, pairs, offered in ((1, 9, False), (8, 0, False), (2, 1, True)):
        about._on_described(facts(images=images, pairs=pairs))
        assert card.hold_out.isVisible() is offered
    about._on_described(facts(reasons=["line 2"], bad=1))
    assert (card.more.isVisible(), card.more.text()) == (True, "skipped: line 2")
    assert "Skipped:" in card.more.toolTip()
    about._on_described(facts())
    assert not card.more.isVisible()
    assert not card._shelf.isVisible(), "there are no images"
    card.set_others({"val": "/v.csv"})
    about._overlapped({"shared": {"/v.csv": 0}})  # type: ignore[arg-type]
    assert (card.overlap.text(), card.overlap.property("role")) == ("no image is in val too", "small")
    about._overlapped({"shared": {"/v.csv": 4}})  # type: ignore[arg-type]
    assert (card.overlap.text(), card.overlap.property("role")) == ("4 images (50.0 %) are in val too", "error")
    about.refused.emit(Cancelled())
    assert card.figures.property("role") != "error"
    about.refused.emit(Failure("No column.\nAdd it."))
    assert (card.figures.text(), card.figures.property("role")) == ("No column.", "error")
    assert "Add it." in card.figures.toolTip()


def test_unknown_facts_are_requested_and_closed_sources_dropped(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[tuple[str, dict[str, Any]]] = []
    dropped: list[str] = []

    def ask(_calls: WorkerCalls, purpose: str, _verb: object, *_args: object, **arguments: Any) -> None:
        requests.append((purpose, arguments))

    monkeypatch.setattr(WorkerCalls, "ask", ask)
    monkeypatch.setattr(WorkerCalls, "drop", lambda _calls, purpose: dropped.append(purpose))
    about = DataFacts(services, images_only=True)
    about.look_for_overlap(["/v.csv"])
    about.hold_out()
    assert requests == [], "there is no source"
    about.set_source("/a.csv")
    about.look_for_overlap(["/v.csv", "/t.csv"])
    about._overlapped({"shared": {"/v.csv": 0}})
    about.look_for_overlap(["/v.csv", "/t.csv"])
    about.look_for_overlap(["/v.csv"])
    about.hold_out()
    with monkeypatch.context() as patch:
        patch.setattr(WorkerCalls, "busy", lambda _calls, _purpose: True)
        about.look_for_overlap(["/x.csv"])
    assert requests == [
        ("describe", {"source": "/a.csv", "images_only": True}),
        ("overlap", {"source": "/a.csv", "others": ["/v.csv", "/t.csv"]}),
        ("overlap", {"source": "/a.csv", "others": ["/t.csv"]}),
        ("hold out", {"source": "/a.csv", "share": 0.1, "seed": 0, "folder": str(services.store.home / "data" / "a")}),
    ]
    about._on_described(facts())
    dropped.clear()
    about.set_source("")
    assert (dropped, about.facts, about.shared, len(requests)) == (["describe", "overlap", "hold out"], None, {}, 4)


def test_a_card_compares_its_data_once_known(qtbot: QtBot, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    about, compared = DataFacts(services), list[list[str]]()
    monkeypatch.setattr(about, "look_for_overlap", compared.append)
    card = DataCard(about)
    qtbot.addWidget(card)
    card.set_others({"val": "/v.csv"})
    assert compared == []
    about._on_described(facts())
    card.set_others({"val": "/v.csv", "test": "/t.csv"})
    assert compared == [["/v.csv"], ["/v.csv", "/t.csv"]]


def test_sources_are_listed_with_their_folder_and_the_last_eight_are_remembered(
    picker: DataPicker, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.csv" for number in range(10)]
    sources: list[str] = []
    picker.changed.connect(sources.append)
    for file in files:
        file.touch()
        picker.set_source(str(file))
    stored = json.loads(str(picker._services.settings.value("data/recent")))
    assert stored == [str(file) for file in files[:1:-1]]
    picker.set_source("/data/shown", "of a run")
    box = picker.box
    tip = Qt.ItemDataRole.ToolTipRole
    assert [box.itemText(0), box.itemData(0), box.itemData(0, tip)] == ["of a run", "/data/shown", "/data/shown"]
    assert (box.currentIndex(), picker.figures.isVisible()) == (0, True)
    row = box.findData(str(files[3]))
    box.setCurrentIndex(row)
    box.activated.emit(row)
    assert (picker.source(), sources) == (str(files[3]), [*map(str, files), "/data/shown", str(files[3])])
    files[3].unlink()
    picker.refresh()
    assert (box.currentData(), box.currentText()) == (str(files[3]), "3.csv"), "what is chosen stays, there or not"
    assert [box.itemData(place) for place in range(1, 3)] == [str(files[9]), str(files[8])]


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
