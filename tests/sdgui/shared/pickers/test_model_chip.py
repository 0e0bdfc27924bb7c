"""The model chip over a real store and run folders: what is listed, greyed, typed, dropped, remembered, renewed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.app.start import make_application, make_services
from sdgui.shared.pickers.entries import ModelChoice, recent_choices, remember
from sdgui.shared.pickers.model_chip import ModelChip
from sdgui.shared.pickers.pretrained import pretrained_models
from sdgui.shared.services import Services
from sdgui.store.records import Progress, Run


@pytest.fixture
def services(qapp: object, tmp_path: Path) -> Iterator[Services]:
    make_application()
    services = make_services(tmp_path / "home")
    yield services
    services.store.close()


@pytest.fixture
def chip(qtbot: QtBot, services: Services) -> ModelChip:
    chip = ModelChip(services)
    qtbot.addWidget(chip)
    chip.resize(300, 32)
    chip.show()
    return chip


class Heard:
    def __init__(self, chip: ModelChip) -> None:
        self.changed: list[ModelChoice] = []
        self.renewed: list[ModelChoice] = []
        self.refused: list[str] = []
        chip.changed.connect(self.changed.append)
        chip.renewed.connect(self.renewed.append)
        chip.refused.connect(self.refused.append)


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


def opened(qtbot: QtBot, chip: ModelChip, typed: str = "") -> list[str]:
    """Open the list by the mouse; its lines, once they are read."""
    chip.popover.lines.replace([])
    qtbot.mouseClick(chip, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: chip.popover.lines.rowCount() > 0, timeout=20000)
    if typed:
        qtbot.keyClicks(chip.popover.line, typed)
    lines = chip.popover.lines
    return [str(lines.index(row).data()) for row in range(lines.rowCount())]


def reason(chip: ModelChip, title: str) -> str:
    return next(entry.reason for entry in chip.popover.lines.entries() if entry.title == title)


def click(qtbot: QtBot, chip: ModelChip, title: str) -> None:
    popover = chip.popover
    row = next(row for row in range(popover.lines.rowCount()) if popover.lines.index(row).data() == title)
    popover.list.scrollTo(popover.lines.index(row))
    spot = popover.list.visualRect(popover.lines.index(row)).center()
    qtbot.mouseClick(popover.list.viewport(), Qt.MouseButton.LeftButton, pos=spot)


def test_a_run_is_named_by_checkpoint_and_network(
    services: Services, chip: ModelChip, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    run, young = run_of(services), run_of(services, "young")
    save(run.dir, 100, "student", "teacher")
    save(run.dir, 200, "student", "teacher")
    (run.dir.checkpoints / "best").write_text("step-00000100")
    heard = Heard(chip)
    assert chip.text() == "Choose a model"
    assert {"clip · run 1", "young · run 1", "Runs"} <= set(opened(qtbot, chip))
    assert "saved a checkpoint" in reason(chip, "young · run 1")
    click(qtbot, chip, "young · run 1")
    assert chip.popover.isVisible(), "what is grey is not picked"
    with qtbot.waitSignal(chip.popover.folder_requested):
        chip.popover._folder.click()
    assert chip.popover.isHidden(), "the dialog is not behind it"
    opened(qtbot, chip)
    click(qtbot, chip, "clip · run 1")
    assert not chip.popover.isVisible()
    assert chip.text() == "clip · run 1 · teacher · best"
    assert heard.changed == [
        ModelChoice(f"{run.folder}@best", "teacher", "clip · run 1 · best, step 100 · teacher", run.id)
    ]
    chip.open()
    popover = chip.popover
    assert [popover.checkpoints.itemData(row) for row in range(popover.checkpoints.count())] == [
        "best",
        "last",
        200,
        100,
    ]
    popover.networks.setCurrentIndex(popover.networks.findData("student"))
    popover.networks.activated.emit(1)
    popover.checkpoints.setCurrentIndex(popover.checkpoints.findData(200))
    popover.checkpoints.activated.emit(2)
    choice = chip.choice()
    assert choice is not None
    assert (choice.model, choice.network) == (f"{run.folder}@200", "student")
    assert chip.text() == "clip · run 1 · student · step 200"
    assert len(heard.changed) == 3
    assert not chip.choose_run(young.id)
    assert chip.choice() == choice
    services.store.record(young.id, Progress(state=RunState.DONE, offset=1))
    assert heard.refused[-1].endswith("This run has not saved a checkpoint yet.")
    shutil.rmtree(young.folder)
    assert not chip.choose_run(young.id)
    assert heard.refused[-1].endswith("The folder of this run no longer exists.")


def test_the_best_checkpoint_is_offered_with_its_network(services: Services, chip: ModelChip) -> None:
    run = run_of(services)
    save(run.dir, 100, "student", "teacher")
    save(run.dir, 200, "student", "teacher")
    (run.dir.checkpoints / "best").write_text("step-00000100")
    record = run.dir.checkpoints / "step-00000100" / "checkpoint.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "network": "student"}))
    assert chip.choose_run(run.id)
    choice = chip.choice()
    assert choice is not None
    assert (choice.network, choice.title) == ("student", "clip · run 1 · best, step 100 · student")


def test_new_checkpoints_of_the_selected_run_are_announced_and_the_selection_stays(
    services: Services, chip: ModelChip
) -> None:
    run = run_of(services)
    save(run.dir, 100)
    heard = Heard(chip)
    assert chip.choose_run(run.id)
    save(run.dir, 200)
    chip.refresh()
    assert [choice.title for choice in heard.renewed] == ["clip · run 1 · best, step 200 · student"]
    chip.refresh()
    assert len(heard.renewed) == len(heard.changed) == 1


def test_a_selected_run_without_its_folder_cannot_be_used_until_the_folder_is_back(
    services: Services, chip: ModelChip, tmp_path: Path
) -> None:
    run = run_of(services)
    save(run.dir, 100, "student")
    assert chip.choose_run(run.id)
    title = chip.text()
    run.folder.rename(tmp_path / "moved")
    chip.refresh()
    assert (chip.choice(), chip.text()) == (None, title)
    assert "no longer exists" in chip.toolTip()
    (tmp_path / "moved").rename(run.folder)
    chip.refresh()
    choice = chip.choice()
    assert choice is not None
    assert "step 100" in choice.title
    shutil.rmtree(run.dir.checkpoints)
    chip.refresh()
    assert "were deleted" in chip.toolTip()


def test_models_that_cannot_caption_are_disabled_with_the_reason(services: Services, qtbot: QtBot) -> None:
    save(run_of(services, "plain").dir, 10)
    save(run_of(services, "coca").dir, 10, captions=True)
    chip = ModelChip(services, needs="caption")
    qtbot.addWidget(chip)
    chip.show()
    heard = Heard(chip)
    lines = opened(qtbot, chip)
    assert "not CoCa" in reason(chip, "plain · run 1")
    assert "not CoCa" in reason(chip, "ViT-B-32 · openai")
    assert reason(chip, "coca · run 1") == reason(chip, "coca_ViT-B-32 · mscoco_finetuned_laion2b_s13b_b90k") == ""
    captioner = lines.index("coca_ViT-B-32 · laion2b_s13b_b90k")
    assert captioner < lines.index("ViT-B-32 · openai"), "those that fit come first"
    assert not chip.set_choice(ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32"))
    assert "not CoCa" in heard.refused[0]
    assert chip.choice() is None


def test_models_are_found_by_typing_and_by_keys(chip: ModelChip, qtbot: QtBot) -> None:
    heard = Heard(chip)
    chip.setFocus()
    qtbot.keyClick(chip, Qt.Key.Key_O)
    popover = chip.popover
    assert popover.isVisible()
    assert popover.line.text() == "o"
    qtbot.waitUntil(lambda: popover.lines.rowCount() > 0, timeout=20000)
    popover.line.clear()
    qtbot.keyClicks(popover.line, "open_clip:ViT-B-32,openai")
    qtbot.keyClick(popover.line, Qt.Key.Key_Return)
    assert heard.changed == [ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32 · openai")]
    opened(qtbot, chip, "vit-b-32 laion")
    assert all("laion" in entry.name for entry in popover.lines.entries())
    first = popover.lines.entry(popover.list.currentIndex().row())
    qtbot.keyClick(popover.line, Qt.Key.Key_Down)
    second = popover.lines.entry(popover.list.currentIndex().row())
    assert first is not None
    assert second is not None
    assert first != second
    qtbot.keyClick(popover.line, Qt.Key.Key_Enter)
    assert heard.changed[-1].model == f"open_clip:{second.name}"
    opened(qtbot, chip, "no such model")
    assert "No model matches “no such model”" in popover.note.text()
    qtbot.keyClick(popover.line, Qt.Key.Key_Return)
    assert popover.isVisible(), "nothing is picked"
    qtbot.keyClick(popover.line, Qt.Key.Key_Escape)
    assert not popover.isVisible()
    for text in ("~nobody-here/x", "x" * 300, "/" + "y/" * 200):
        popover.open_below(chip, text)
        assert "No model matches" in popover.note.text()
    assert "ViT-S-32 · no weights" in opened(qtbot, chip, "vit-s-32")
    assert "ViT-S-32 · no weights" not in opened(qtbot, chip), "random ones are seldom wanted"


def test_the_size_of_every_pretrained_model_is_known() -> None:
    assert [model.name for model in pretrained_models() if not model.size] == []


def test_folders_are_dropped_and_typed(services: Services, chip: ModelChip, qtbot: QtBot, tmp_path: Path) -> None:
    heard = Heard(chip)
    saved = tmp_path / "saved"
    saved.mkdir()
    run = run_of(services)
    save(run.dir, 10)

    def drop(path: Path) -> None:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        action, button = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
        chip.dropEvent(QDropEvent(QPointF(3, 3), action, data, button, Qt.KeyboardModifier.NoModifier))

    drop(saved)
    assert "contains no model" in heard.refused[0]
    (saved / "open_clip_config.json").write_text("{}")
    drop(saved / "open_clip_config.json")
    assert heard.changed[-1] == ModelChoice(str(saved), "", "saved")
    drop(run.folder)
    assert heard.changed[-1].title == "clip · run 1 · best, step 10 · student"
    assert heard.changed[-1].run_id == run.id
    opened(qtbot, chip, str(saved))
    qtbot.keyClick(chip.popover.line, Qt.Key.Key_Return)
    assert heard.changed[-1] == ModelChoice(str(saved), "", "saved")


def test_recent_models_come_first_and_missing_ones_do_not(
    services: Services, chip: ModelChip, qtbot: QtBot, tmp_path: Path
) -> None:
    run = run_of(services)
    save(run.dir, 10)
    remember(services.settings, ModelChoice(f"{tmp_path}/gone@best", "", "gone"))
    remember(services.settings, ModelChoice("open_clip:RN50,openai", "", "RN50,openai"))
    for _ in range(2):
        remember(services.settings, ModelChoice(f"{run.folder}@last", "student", "an old name", run.id))
    assert opened(qtbot, chip)[:4] == ["Recent", "clip · run 1 · student · last", "RN50 · openai", "Runs"]
    heard = Heard(chip)
    assert chip.restore()
    assert [choice.model for choice in heard.changed] == [f"{run.folder}@last"]
    assert chip.text() == "clip · run 1 · student · last"
    for unusable in ('[1, {"model": 3}, {', "[" * 10**5):
        services.settings.setValue("models/recent", unusable)
        assert recent_choices(services.settings) == []


def test_the_wheel_and_a_reload_change_no_selection(services: Services, chip: ModelChip, qtbot: QtBot) -> None:
    runs = [run_of(services, name) for name in ("one", "two")]
    for run in runs:
        save(run.dir, 10)
    assert chip.choose_run(runs[0].id)
    opened(qtbot, chip)
    popover = chip.popover
    qtbot.keyClick(popover.line, Qt.Key.Key_Down)
    qtbot.keyClick(popover.line, Qt.Key.Key_Down)
    marked = popover.lines.entry(popover.list.currentIndex().row())
    save(run_of(services, "late").dir, 10)
    chip.refresh()
    qtbot.waitUntil(lambda: any(entry.title == "late · run 1" for entry in popover.lines.entries()), timeout=20000)
    assert popover.lines.entry(popover.list.currentIndex().row()) == marked
    qtbot.keyClick(popover.line, Qt.Key.Key_Escape)
    choice = chip.choice()
    assert choice is not None
    assert choice.run_id == runs[0].id
