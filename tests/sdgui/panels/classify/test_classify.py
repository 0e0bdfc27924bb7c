"""The Classify place with a worker in miniature: what is asked, shown, compared, tried, kept and refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QColor, QDesktopServices, QImage
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.files import write_whole
from core.spec.presets import preset_config
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.panels.classify.model import method_title
from sdgui.panels.classify.panel import ClassifyPanel
from sdgui.shared.export import dialog as export_dialog
from sdgui.shared.export.formats import Exported
from sdgui.shared.export.pictures import export_table
from sdgui.widgets.gallery.items import GalleryItem, spoken
from sdgui.widgets.message import Message, Remedy
from sdgui.worker.replies import Failure
from tests.sdgui.conftest import leave, program

OpenClassify = Callable[..., ClassifyPanel]
Request = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures, tables and where the worker writes down what it was asked."""
    work = tmp_path / "work"
    (work / "pictures").mkdir(parents=True)
    for true in range(4):
        for number in range(6):
            image = QImage(8, 8, QImage.Format.Format_RGB32)
            image.fill(QColor.fromHsv(true * 80, 200, 40 * number))
            image.save(str(work / "pictures" / f"{true}-{number}.png"))
    for name in ("small", "other", "broken", "garbage", "slow", "many", "bare"):
        (work / f"{name}.csv").write_text("filepath,title,kind\n", encoding="utf-8")
    return work


@pytest.fixture
def open_classify(qtbot: QtBot, home: Path, folder: Path) -> Iterator[OpenClassify]:
    """The place over a run with a student and a teacher; opened again on the same home when called twice."""
    make_application()
    windows: list[MainWindow] = []

    def open_it(data: str = "small") -> ClassifyPanel:
        command = program("fake_classify_worker.py", str(folder))
        services = make_services(home, program("fake_trainer.py"), command, program("fake_demo.py"))
        window = MainWindow(services)
        windows.append(window)
        if not services.store.runs():
            _make_run(window)
        window.show()
        window.activateWindow()
        qtbot.waitUntil(lambda: window.isActiveWindow() and bool(window.panels))
        window.experiments.select_run(services.store.runs()[0].id)
        place = window.show_panel("classify")
        assert isinstance(place, ClassifyPanel)
        if data:
            choose(qtbot, place, folder / f"{data}.csv")
        return place

    yield open_it
    for window in windows:
        leave(window, qtbot)
        window.services.store.close()


def _make_run(window: MainWindow, config: RunConfig | None = None) -> None:
    store = window.services.store
    config = config or preset_config("sd-clip", "tiny")
    run = store.add_run(store.add_experiment(config).id)
    run.dir.create()
    write_whole(run.dir.config, config.to_json().encode())
    checkpoint = run.dir.checkpoints / "step-00000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.json").write_text('{"model": {}}', encoding="utf-8")
    for network in ("student", "teacher"):
        (checkpoint / f"{network}.safetensors").write_bytes(b"")
    window.reload()


def choose(qtbot: QtBot, place: ClassifyPanel, data: Path) -> None:
    place.source.data.set_source(str(data))
    qtbot.waitUntil(lambda: place.source.data.facts() is not None, timeout=20000)


def classify(qtbot: QtBot, place: ClassifyPanel, method: str = "image") -> None:
    there = {found.measure for found in place.results.results()}
    place.source.set_method(method)
    qtbot.mouseClick(place.source.button, Qt.MouseButton.LeftButton)
    wanted = 4 if method == "all" else len(there) + 1
    qtbot.waitUntil(lambda: len(place.results.results()) == wanted and place.strip.isHidden(), timeout=20000)


def asked(folder: Path, verb: str) -> list[Request]:
    lines = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    return [request for request in map(json.loads, lines) if request["do"] == verb]


def test_one_button_measures_and_every_tab_shows_it(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    place = open_classify()
    assert place.empty.isVisible()
    assert not place.tabs.isTabEnabled(1)
    classify(qtbot, place)
    request = asked(folder, "classify_open")[0]
    assert request["data"] == str(folder / "small.csv")
    assert (request["label"], request["weights"], request["train"]) == ("kind", "teacher", "")
    assert place.accuracy.figure.text() == "83.3 %"
    assert "73.3 to 93.3 %" in place.accuracy.interval.text()
    table = place.accuracy.table
    assert [row["class"] for row in table.rows()] == ["cat", "Große Katze", "snow_leopard", "🐯 tiger"]
    assert place.matrix.matrix.sentence((0, 1)) == "cat taken for Große Katze: 1 of 6 (16.7 %)"
    assert [row["count"] for row in place.matrix.pairs.rows()] == [1, 1, 1, 1]
    assert len(place.mistakes.gallery.model.items()) == 4
    assert place.curves.c_curve.lines()[0].marked == 0.1
    assert "10 pictures" not in place.notes.text()
    assert "row 7: no label" in place.notes.text()
    assert "and 2 more" in place.notes.text()
    place.notes.button.click()
    assert place.notes.list.isVisible()


def test_a_cell_and_a_pair_show_their_pictures(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    place = open_classify()
    classify(qtbot, place)
    place.tabs.setCurrentWidget(place.matrix)
    place.matrix.matrix.setFocus()
    qtbot.keyClick(place.matrix.matrix, Qt.Key.Key_Return)
    gallery = place.matrix.gallery
    qtbot.waitUntil(lambda: gallery.model.rowCount() == 5, timeout=20000)
    assert gallery.model.item(0).correct is True
    place.matrix.pairs.set_current(1)
    qtbot.waitUntil(lambda: gallery.model.rowCount() == 1, timeout=20000)
    assert place.matrix.matrix.current() == (1, 2)
    assert gallery.model.item(0).correct is False
    assert "snow_leopard" in spoken(gallery.model.item(0))
    request = asked(folder, "classify_cell")[-1]
    assert (request["true"], request["predicted"], request["offset"]) == (1, 2, 0)


def test_all_four_methods_and_a_class_of_the_table_leads_to_the_matrix(
    qtbot: QtBot, open_classify: OpenClassify
) -> None:
    place = open_classify()
    classify(qtbot, place, "all")
    kinds = {found.answer["kind"] for found in place.results.results()}
    assert kinds == {"zero-shot", "linear-probe", "fused-probe", "knn"}
    place.results.choose(next(f.measure for f in place.results.results() if f.measure.method == "zero-shot"))
    assert place.accuracy.figure.text() == "66.7 %"
    place.accuracy.table.chosen.emit(2)
    assert place.tabs.currentWidget() is place.matrix
    assert place.matrix.matrix.current() == (2, 2)
    assert "Only a linear or fused probe" in place.curves.c_curve.readout.text()


def test_a_thousand_classes_are_shown_without_holding_the_window_up(qtbot: QtBot, open_classify: OpenClassify) -> None:
    place = open_classify("many")
    classify(qtbot, place)
    assert len(place.accuracy.table.rows()) == 1000
    assert place.matrix.matrix.cells.size == 1000
    place.accuracy.table.filter_box.setText("99")
    assert len(place.accuracy.table.shown()) == 19
    place.matrix.find_box.setText("class 512")
    place.matrix.find_box.returnPressed.emit()
    assert place.matrix.matrix.current() == (512, 512)
    place.matrix.order.setCurrentIndex(1)
    place.matrix.order.activated.emit(1)
    assert place.matrix.matrix.current() == (512, 512)


def test_student_beside_teacher_in_words_by_class_and_by_picture(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    place = open_classify()
    classify(qtbot, place)
    place.tabs.setCurrentWidget(place.compare)
    assert place.compare.network.text() == "With the student"
    place.compare.network.click()
    qtbot.waitUntil(lambda: "is better than" in place.compare.sentence.text(), timeout=20000)
    assert "+33.3 points (95 %: +28.3 to +38.3, paired)" in place.compare.sentence.text()
    assert len(place.compare.table.rows()) == 4
    assert len(place.compare.only_a.model.items()) == 1
    assert len(place.compare.only_b.model.items()) == 0
    assert place.results.current() is not None
    assert place.results.current().measure.target.weights == "teacher"  # type: ignore[union-attr]
    opened = asked(folder, "classify_open")
    assert [request["weights"] for request in opened] == ["teacher", "student"]
    place.compare.probe.click()
    qtbot.waitUntil(lambda: len(place.results.results()) == 3, timeout=20000)
    qtbot.waitUntil(lambda: "Fused probe" in place.compare.sentence.text(), timeout=20000)


def test_the_few_shot_curve_grows_and_the_zero_shot_line_stands_beside_it(
    qtbot: QtBot, open_classify: OpenClassify
) -> None:
    place = open_classify()
    classify(qtbot, place, "zero-shot")
    classify(qtbot, place)
    lengths: list[int] = []
    shown = place.curves.show_few_shot

    def note(target: Any, kind: str, answer: Any) -> None:
        lengths.append(len(answer["curve"]))
        shown(target, kind, answer)

    place.curves.show_few_shot = note  # type: ignore[method-assign]
    place.curves.image.click()
    qtbot.waitUntil(lambda: lengths == [1, 2, 3, 3], timeout=20000)
    line, level = place.curves.shots.lines()
    assert list(line.x) == [1, 2, 4]
    assert level.level
    assert level.y == [pytest.approx(4 / 6)]
    assert "pictures per class 4: 70.0 %" in place.curves.shots.accessibleDescription()
    assert "gave all" in place.curves.notes.text()


def test_pictures_are_tried_by_the_probe_and_among_names_as_they_are_typed(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    place = open_classify()
    classify(qtbot, place)
    place.tabs.setCurrentWidget(place.trying)
    place.trying.drop.take_paths([folder / "pictures" / "0-1.png", folder / "pictures" / "2-1.png"])
    table = place.trying.by_probe
    qtbot.waitUntil(lambda: [row["class"] for row in table.rows()] == ["cat", "tiger"], timeout=20000)
    qtbot.waitUntil(lambda: place.trying.gallery.model.item(1).caption == "cat", timeout=20000)
    assert place.trying.by_names.rows() == []
    place.trying.names.setFocus()
    qtbot.keyClicks(place.trying.names, "cat, ")
    place.trying.names.insertPlainText("Große Katze, 🐯")  # which QTest cannot type
    names = place.trying.by_names
    qtbot.waitUntil(lambda: [row["class"] for row in names.rows()] == ["cat", "Große Katze", "🐯"], timeout=20000)
    last = asked(folder, "classify_try")[-1]
    assert last["classes"] == ["cat", "Große Katze", "🐯"]
    assert last["probe"]


def test_without_a_result_typed_names_are_enough_to_try_a_picture(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    place = open_classify("")
    place.tabs.setCurrentWidget(place.trying)
    place.trying.names.setPlainText("cat\nSmith, John")
    place.trying.drop.take_paths([folder / "pictures" / "0-1.png"])
    names = place.trying.by_names
    qtbot.waitUntil(lambda: [row["class"] for row in names.rows()] == ["cat", "Smith, John"], timeout=20000)


def test_a_probe_is_saved_after_a_question_loaded_and_applied(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    place = open_classify()
    classify(qtbot, place)
    probe = place.probe()
    assert probe is not None
    file = folder / "colours.safetensors"
    place.probes.save(probe, file)
    qtbot.waitUntil(lambda: "is saved as" in place.bar.text, timeout=20000)
    assert file.exists()
    done: list[bool] = []
    place.probes.unless_there([file], lambda: done.append(True))
    box = place.findChild(QMessageBox, "replace")
    assert "colours.safetensors is there already" in box.text()
    box.button(QMessageBox.StandardButton.Cancel).click()
    assert not done
    place.load_probe(file)
    qtbot.waitUntil(lambda: len(place.results.results()) == 2, timeout=20000)
    assert method_title(place.results.results()[0].measure) == "Probe colours"
    place.probes.apply(probe, folder / "pictures", folder / "out.csv")
    qtbot.waitUntil(lambda: "23 pictures are classified" in place.bar.text, timeout=20000)
    assert "1 could not be read" in place.bar.text


def test_a_restarted_worker_answers_about_what_is_shown_by_its_key(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    place = open_classify()
    classify(qtbot, place)
    client = place._services.pool.client(place.results.results()[0].measure.target.model)
    client.shutdown()
    qtbot.waitUntil(lambda: client.state == "off", timeout=20000)
    place.matrix.ask_cell(0, 1)
    qtbot.waitUntil(lambda: place.matrix.gallery.model.rowCount() == 1, timeout=20000)
    assert len(asked(folder, "classify_open")) == 1
    assert len(asked(folder, "classify_probe")) == 1


def test_what_cannot_be_classified_is_said_in_the_places_bar(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    place = open_classify("")
    place.source.run_asked.emit()
    assert "Choose labelled pictures" in place.bar.text
    choose(qtbot, place, folder / "bare.csv")
    assert "holds no labels" in place.bar.text
    choose(qtbot, place, folder / "broken.csv")
    place.source.button.click()
    qtbot.waitUntil(lambda: "has no value in any row" in place.bar.text, timeout=20000)
    assert place.strip.isHidden()
    assert place.source.button.isEnabled()
    assert place.empty.isVisible()


def test_a_worker_that_answers_garbage_is_said_so_and_can_be_asked_again(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    place = open_classify("garbage")
    place.source.button.click()
    qtbot.waitUntil(lambda: "answer cannot be used" in place.bar.text)
    assert place.strip.isHidden()
    assert place.source.button.isEnabled()
    assert place.bar._action.text() == "Try again"


def test_an_exports_remedy_does_nothing_but_its_own(
    qtbot: QtBot, open_classify: OpenClassify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_classify("")
    opened: list[object] = []
    monkeypatch.setattr(export_dialog.QDesktopServices, "openUrl", opened.append)
    again: list[str] = []
    place.show_message(Message("error", "The worker crashed.", remedy=Remedy("Try again", lambda: again.append("x"))))
    place.export._done(Exported(tmp_path, 3))
    place.bar.press_remedy()
    assert len(opened) == 1
    assert again == []


def test_opening_is_cancelled_and_gone_on_with(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    place = open_classify("slow")
    place.source.button.click()
    qtbot.waitUntil(lambda: "Encoding pictures" in place.strip.text, timeout=20000)
    assert not place.source.button.isEnabled()
    place.export.run(export_table, [], folder / "pictures.csv")
    qtbot.waitUntil(lambda: not place.export.task.running)
    assert place.export_strip.isHidden()
    assert not place.strip.isHidden()
    place.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "What was encoded is kept" in place.bar.text, timeout=20000)
    assert place.strip.isHidden()
    assert place.source.button.isEnabled()


def test_a_button_of_another_message_does_not_try_again(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    place = open_classify("broken")
    place.source.button.click()
    qtbot.waitUntil(lambda: place.bar._action.text() == "Try again", timeout=20000)
    place.export.run(export_table, [GalleryItem(folder / "pictures" / "0-1.png")], folder / "pictures.csv")
    qtbot.waitUntil(lambda: place.bar._action.text() == "Open folder", timeout=20000)
    place.bar._action.click()
    assert [url.toLocalFile() for url in opened] == [str(folder)]
    assert place.strip.isHidden()
    assert not place.session.busy("measure")
    assert len(asked(folder, "classify_open")) == 1


def test_a_cell_whose_request_failed_is_asked_for_again(
    qtbot: QtBot, open_classify: OpenClassify, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_classify()
    classify(qtbot, place)
    with monkeypatch.context() as patch:
        patch.setattr(
            place.session, "ask", lambda purpose, measure, verb, done, failed, **rest: failed(Failure("It ended."))
        )
        place.matrix.ask_cell(0, 1)
        assert place.bar.text == "It ended."
        place.mistakes.more_asked.emit(12)
        assert place.mistakes._asked == place.mistakes.gallery.model.rowCount()
    place.matrix.ask_cell(0, 1)
    qtbot.waitUntil(lambda: place.matrix.gallery.model.rowCount() == 1, timeout=20000)


def test_pictures_of_another_cell_are_not_put_into_this_one(qtbot: QtBot, open_classify: OpenClassify) -> None:
    place = open_classify()
    classify(qtbot, place)
    place.matrix.ask_cell(0, 1)
    place.matrix.ask_cell(0, 2)  # which is empty, so that nothing is asked
    place.matrix.show_cell({"true": "cat", "predicted": "Große Katze", "pictures": [{"image": "a", "probability": 1}]})
    assert place.matrix.gallery.model.rowCount() == 0


def test_answers_to_a_question_that_was_changed_are_dropped(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_classify()
    classify(qtbot, place)
    answers: dict[tuple[str, ...], Callable[[dict[str, Any]], None]] = {}
    monkeypatch.setattr(place.session, "try_pictures", lambda *given: answers.update({tuple(given[4]): given[5]}))
    path = str(folder / "pictures" / "0-1.png")
    place.trying.add([path])
    place.trying.names.setPlainText("fox")
    qtbot.waitUntil(lambda: set(answers) == {(), ("fox",)})
    for name, done in (("old", answers[()]), ("fox", answers["fox",])):
        one = {"image": path, "probe": None, "zero_shot": [{"class": name, "probability": 1.0}], "error": ""}
        done({"pictures": [one]})
        assert [row["class"] for row in place.trying.by_names.rows()] == ([] if name == "old" else ["fox"])


def test_choices_tab_and_names_are_remembered(qtbot: QtBot, open_classify: OpenClassify, folder: Path) -> None:
    place = open_classify()
    place.source.set_label("tone")
    place.source.set_method("knn")
    place.source.set_training("split")
    place.trying.names.setPlainText("a cat\na dog")
    place.tabs.setCurrentWidget(place.trying)
    window = place.window()
    assert isinstance(window, MainWindow)
    leave(window, qtbot)
    again = open_classify("")
    qtbot.waitUntil(lambda: again.source.chosen_label() == "tone", timeout=20000)
    assert again.source.data.source() == str(folder / "small.csv")
    assert again.source.method.currentData() == "knn"
    assert again.source.train.currentData() == "split"
    assert again.trying.typed() == ["a cat", "a dog"]
    assert again.tabs.currentWidget() is again.trying


def test_the_empty_place_offers_the_demos_next_step(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path, home: Path
) -> None:
    place = open_classify("")
    assert place._demo.make
    demo = home / "demo-data"
    demo.mkdir()
    for name in ("demo.json", "unseen.csv", "train.csv"):
        (demo / name).write_text("{}", encoding="utf-8")
    window = place.window()
    assert isinstance(window, MainWindow)
    _make_run(window, override(preset_config("sd-clip", "tiny"), [f"data.train={demo / 'train.csv'}"]))
    place.refresh()
    assert place._demo.button == "Classify the demo's groups"
    place.empty.activated.emit()
    qtbot.waitUntil(lambda: len(place.results.results()) == 1, timeout=20000)
    request = asked(folder, "classify_open")[0]
    assert (request["data"], request["label"]) == (str(demo / "unseen.csv"), "group")
