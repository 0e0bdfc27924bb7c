"""The model picker over a real store and run folders: what is offered, greyed, typed, dropped, remembered, renewed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.app.start import make_application, make_services
from sdgui.shared.pickers.entries import ModelChoice, ModelEntry, recent_choices, remember, run_entries
from sdgui.shared.pickers.models import ModelPicker
from sdgui.shared.services import Services
from sdgui.store.records import Run


@pytest.fixture
def services(qapp: object, tmp_path: Path) -> Iterator[Services]:
    make_application()
    services = make_services(tmp_path / "home")
    yield services
    services.store.close()


@pytest.fixture
def picker(qtbot: QtBot, services: Services) -> ModelPicker:
    picker = ModelPicker(services)
    qtbot.addWidget(picker)
    picker.resize(700, 40)
    picker.show()
    return picker


class Heard:
    def __init__(self, picker: ModelPicker) -> None:
        self.changed: list[ModelChoice] = []
        self.renewed: list[ModelChoice] = []
        self.refused: list[str] = []
        picker.changed.connect(self.changed.append)
        picker.renewed.connect(self.renewed.append)
        picker.refused.connect(self.refused.append)


def run_of(services: Services, name: str = "clip", architecture: str = "sd-tiny") -> Run:
    config = preset_config("clip", "tiny")
    run = services.store.add_run(services.store.add_experiment(config, name).id)
    run.dir.create()
    run.dir.config.write_text(json.dumps({"towers": {"architecture": architecture}}))
    return run


def save(run: RunDir, step: int, *networks: str, captions: bool = False) -> None:
    folder = run.checkpoints / f"step-{step:08d}"
    folder.mkdir()
    for network in networks or ("student",):
        (folder / f"{network}.safetensors").write_bytes(b"")
    model = {"multimodal_cfg": {}} if captions else {}
    (folder / "checkpoint.json").write_text(json.dumps({"model": model}))
    (run.checkpoints / "last").write_text(folder.name)


def lines(qtbot: QtBot, picker: ModelPicker) -> dict[str, str]:
    """Line -> why it is grey, "" when it is not."""
    picker.show()  # the list is filled a moment later
    qtbot.waitUntil(lambda: picker.model.count() > 0)
    items = [picker.model.model().index(row, 0) for row in range(picker.model.count())]
    grey = {item.data(): not item.flags() & Qt.ItemFlag.ItemIsEnabled for item in items}
    return {
        item.data(): str(item.data(Qt.ItemDataRole.ToolTipRole) or "-") if grey[item.data()] else "" for item in items
    }


def pick(picker: ModelPicker, text: str) -> None:
    row = picker.model.findText(text)
    picker.model.setCurrentIndex(row)
    picker.model.activated.emit(row)


def test_a_run_is_named_by_checkpoint_and_network(services: Services, qtbot: QtBot) -> None:
    run, young = run_of(services), run_of(services, "young")
    save(run.dir, 100, "student", "teacher")
    save(run.dir, 200, "student", "teacher")
    (run.dir.checkpoints / "best").write_text("step-00000100")
    picker = ModelPicker(services)
    qtbot.addWidget(picker)
    heard = Heard(picker)
    assert "saved a checkpoint" in lines(qtbot, picker)["young · run 1"]
    pick(picker, "clip · run 1")
    assert heard.changed == [
        ModelChoice(f"{run.folder}@best", "teacher", "clip · run 1 · best, step 100 · teacher", run.id)
    ]
    picker.weights.setCurrentIndex(picker.weights.findData("student"))
    picker.weights.activated.emit(1)
    picker.which.setCurrentIndex(picker.which.findData(200))
    picker.which.activated.emit(2)
    choice = picker.choice()
    assert choice is not None
    assert (choice.model, choice.weights) == (f"{run.folder}@200", "student")
    assert len(heard.changed) == 3
    assert not picker.show_run(young.id)
    assert picker.choice() == choice


def test_the_best_checkpoint_is_offered_with_the_network_that_made_it_so(services: Services, qtbot: QtBot) -> None:
    run = run_of(services)
    save(run.dir, 100, "student", "teacher")
    save(run.dir, 200, "student", "teacher")
    (run.dir.checkpoints / "best").write_text("step-00000100")
    record = run.dir.checkpoints / "step-00000100" / "checkpoint.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "network": "student"}))
    picker = ModelPicker(services)
    qtbot.addWidget(picker)
    lines(qtbot, picker)
    pick(picker, "clip · run 1")
    choice = picker.choice()
    assert choice is not None
    assert (choice.weights, choice.title) == ("student", "clip · run 1 · best, step 100 · student")


def test_new_checkpoints_of_the_chosen_run_are_told_and_the_choice_stays(
    services: Services, picker: ModelPicker
) -> None:
    run = run_of(services)
    save(run.dir, 100)
    heard = Heard(picker)
    assert picker.show_run(run.id)
    save(run.dir, 200)
    picker.refresh()
    assert [choice.title for choice in heard.renewed] == ["clip · run 1 · best, step 200 · student"]
    picker.refresh()
    assert len(heard.renewed) == len(heard.changed) == 1
    assert [picker.which.itemData(row) for row in range(picker.which.count())] == ["best", "last", 200, 100]


def test_what_cannot_caption_is_grey_and_says_why(services: Services, qtbot: QtBot) -> None:
    save(run_of(services, "plain").dir, 10)
    save(run_of(services, "coca").dir, 10, captions=True)
    picker = ModelPicker(services, needs="caption")
    qtbot.addWidget(picker)
    heard = Heard(picker)
    assert "not CoCa" in lines(qtbot, picker)["plain · run 1"]
    assert "not CoCa" in lines(qtbot, picker)["ViT-B-32"]
    assert lines(qtbot, picker)["coca · run 1"] == lines(qtbot, picker)["coca_ViT-B-32"] == ""
    assert picker.model.findText("coca_ViT-B-32") < picker.model.findText("ViT-B-32")
    picker.model.setEditText("ViT-B-32")
    picker.line.editingFinished.emit()
    assert "not CoCa" in heard.refused[0]
    assert picker.choice() is None
    offered = picker.model.completer().model()
    titles = [offered.index(row, 0).data() for row in range(offered.rowCount())]
    assert "coca · run 1" in titles
    assert not {"plain · run 1", "ViT-B-32", "Runs", "open_clip"} & set(titles)


def test_open_clip_names_are_typed_with_their_weights(picker: ModelPicker, qtbot: QtBot) -> None:
    heard = Heard(picker)
    picker.line.selectAll()
    qtbot.keyClicks(picker.line, "open_clip:ViT-B-32,openai")
    qtbot.keyClick(picker.line, Qt.Key.Key_Return)
    assert heard.changed == [ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32,openai")]
    assert not picker.weights.isVisible()
    picker.which.setCurrentIndex(picker.which.count() - 1)
    picker.which.activated.emit(0)
    assert heard.changed[-1].model == "open_clip:ViT-B-32"
    picker.line.setText("no such model")
    picker.line.editingFinished.emit()
    qtbot.waitUntil(lambda: bool(heard.refused))  # once the list is there
    assert "no such model" in heard.refused[-1]
    assert picker.model.property("invalid") is True
    for text in ("~nobody-here/x", "x" * 300):
        picker.line.setText(text)
        picker.line.editingFinished.emit()
        assert "There is no model" in heard.refused[-1]
    pick(picker, "RN50")
    assert picker.model.property("invalid") is False


def test_a_hidden_list_is_read_when_it_is_seen(
    services: Services, picker: ModelPicker, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines(qtbot, picker)
    picker.hide()
    read: list[str] = []

    def noted(*asked: Any) -> list[ModelEntry]:
        read.append("runs")
        return run_entries(*asked)

    monkeypatch.setattr("sdgui.shared.pickers.models.run_entries", noted)
    save(run_of(services, "late").dir, 100)
    picker.refresh()
    picker.refresh()
    assert read == []
    picker.show()
    qtbot.waitUntil(lambda: picker.model.findText("late · run 1") >= 0)
    assert read == ["runs"]


def test_folders_are_dropped(services: Services, picker: ModelPicker, tmp_path: Path) -> None:
    heard = Heard(picker)
    saved = tmp_path / "saved"
    saved.mkdir()
    run = run_of(services)
    save(run.dir, 10)

    def drop(path: Path) -> None:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        action, button = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
        picker.dropEvent(QDropEvent(QPointF(3, 3), action, data, button, Qt.KeyboardModifier.NoModifier))

    drop(saved)
    assert "contains no model" in heard.refused[0]
    (saved / "open_clip_config.json").write_text("{}")
    drop(saved / "open_clip_config.json")
    assert heard.changed[-1] == ModelChoice(str(saved), "", "saved")
    drop(run.folder)
    assert heard.changed[-1].title == "clip · run 1 · best, step 10 · student"
    assert heard.changed[-1].run_id == run.id


def test_recent_ones_come_first_and_those_that_are_gone_do_not(
    services: Services, qtbot: QtBot, tmp_path: Path
) -> None:
    run = run_of(services)
    save(run.dir, 10)
    remember(services.settings, ModelChoice(f"{tmp_path}/gone@best", "", "gone"))
    remember(services.settings, ModelChoice("open_clip:RN50,openai", "", "RN50,openai"))
    for _ in range(2):
        remember(
            services.settings, ModelChoice(f"{run.folder}@last", "student", "clip · run 1 · last · student", run.id)
        )
    picker = ModelPicker(services)
    qtbot.addWidget(picker)
    assert list(lines(qtbot, picker))[:4] == ["Recent", "clip · run 1 · last · student", "RN50,openai", "Runs"]
    heard = Heard(picker)
    assert picker.restore()
    assert [choice.model for choice in heard.changed] == [f"{run.folder}@last"]
    assert picker.line.text() == "clip · run 1"
    services.settings.setValue("models/recent", '[1, {"model": 3}, {')
    assert recent_choices(services.settings) == []


def test_an_arrow_key_opens_the_list_and_the_wheel_does_nothing(picker: ModelPicker, qtbot: QtBot) -> None:
    picker.setFocus()
    lines(qtbot, picker)
    qtbot.keyClick(picker.model, Qt.Key.Key_Down)
    assert picker.model.view().isVisible()
    picker.model.hidePopup()
    assert picker.choice() is None


def test_weights_stay_when_the_focus_leaves_a_model_that_is_chosen(picker: ModelPicker, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: picker.model.count() > 0)
    assert picker.set_choice(ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32"))
    row = picker.model.findText("ViT-B-32")
    picker.model.activated.emit(row)  # as Qt does when the editing ends
    choice = picker.choice()
    assert choice is not None
    assert choice.model == "open_clip:ViT-B-32,openai"
    picker.model.activated.emit(picker.model.findText("ViT-B-16"))
    other = picker.choice()
    assert other is not None
    assert other.model.startswith("open_clip:ViT-B-16,")
