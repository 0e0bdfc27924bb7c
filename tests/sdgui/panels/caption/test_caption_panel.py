"""Images captioned by one or two models: refused, repeated, stopped, resumed after a crash."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QItemSelectionModel, Qt
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate
from core.spec.presets import preset_config
from sdgui.panels.caption.list.replace import finder
from sdgui.panels.caption.list.rows import CAPTION, SECOND_CAPTION
from sdgui.panels.caption.model import HAND_WRITTEN, Entry, ModelCaptions
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.worker.replies import Failure
from tests.sdgui.panels.caption.conftest import CTRL, MODEL, OpenPanel, drop, images, texts
from tests.sdgui.panels.caption.test_caption_maker import FACTS, caption
from tests.sdgui.panels.caption.test_caption_requests import Works, works


def test_the_worker_starts_when_a_model_is_chosen_before_there_are_images(panel: CaptionsPanel) -> None:
    assert panel.model.rowCount() == 0
    assert MODEL.model in [state.key for state in panel._services.pool.states()]


def test_dropped_images_are_captioned_and_refusals_give_the_reason(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    assert panel.view.stack.currentWidget() is panel.view.empty
    paths = images(tmp_path / "p", "cat.png", "bad.png", "dog 🦊.png")
    (tmp_path / "p" / "notes.md").write_text("words")
    drop(qtbot, panel, [str(tmp_path / "p"), paths[0]])
    assert texts(panel) == ["", "a cat indeed", "a dog 🦊 indeed"]
    bad, cat, _ = panel.model.entries()
    assert (bad.state, bad.error) == ("failed", "it is no image")
    assert [(candidate.text, candidate.score) for candidate in cat.captions["a"].candidates] == [
        ("a cat indeed", -0.25),
        ("a cat perhaps", -0.5),
        ("a cat hardly", -0.75),
    ]
    assert panel.view.bar.text.endswith("1 file that is not an image was skipped. 1 image could not be captioned.")
    panel.view.bar.press_remedy()
    assert [entry.name for entry in panel.model.visible_entries()] == ["bad.png"]
    qtbot.waitUntil(lambda: panel.view.counts.text() == "3 images · 1 shown · 2 captioned · 1 failed")
    panel.view.list.choose(bad.path)
    assert panel.view.detail.state.text() == "Failed: it is no image"


def test_captioning_again_keeps_edits_by_a_person_and_can_be_undone(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png", "b.png", "c.png"))
    panel.edits.set_typed_text(panel.model.entry_at(2).path, "mine")
    panel.view.settings.rows["prompt"].set_text("an image of")
    panel.view.settings.rows["prompt"].edited.emit("prompt")
    panel.view.list.selectAll()
    panel.view.list.setFocus()
    qtbot.keyClick(panel.view.list, Qt.Key.Key_G, CTRL)
    qtbot.waitUntil(lambda: not panel.work.busy)
    assert texts(panel) == ["an image of a a indeed", "an image of a b indeed", "mine"]
    origin = panel._origins[panel.model.entry_at(0).captions["a"].origin]
    assert origin["settings"]["prompt"] == "an image of"
    assert origin["settings"]["max_tokens"] == 12, "the model's context is shorter than the default"
    assert (origin["digest"], origin["step"]) == ("d" * 64, 30)
    panel.undo.undo()
    assert texts(panel) == ["a a indeed", "a b indeed", "mine"]
    panel.undo.redo()
    assert texts(panel)[0] == "an image of a a indeed"


def test_captions_name_their_run_and_its_interpolation(panel: CaptionsPanel, tmp_path: Path) -> None:
    store = panel._services.store
    experiment = store.add_experiment(preset_config("sd-coca", "tiny"), "captioner")
    folder = store.add_run(experiment.id).folder
    model = f"interpolated:{folder}@step-00001234@0.5"
    panel._keep_origin("key", {"model": model, "step": None, "weights": "teacher", "settings": {"search": "greedy"}})
    panel.model.add_paths(images(tmp_path, "a.png"))
    entry = panel.model.entry_at(0)
    panel.model.update([entry.with_captions("a", ModelCaptions("key", (Candidate("a hat"),)))])
    panel.view.list.choose(entry.path)
    about = panel.view.detail.provenance
    assert about.text() == "captioner · run 1 · alpha 0.5 · step 1,234 · teacher · greedy"
    store.rename_experiment(experiment.id, "renamed")
    panel.refresh()
    assert about.text().startswith("renamed · run 1 · alpha 0.5")


def test_two_models_are_shown_side_by_side(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "open_clip_config.json").write_text('{"model_cfg": {"multimodal_cfg": {}}}')
    drop(qtbot, panel, images(tmp_path / "p", "a.png", "b.png"))
    panel.view.tools.compare.click()
    assert panel.view.tools.pickers["b"].set_choice(ModelChoice(str(other), "", "other"))
    qtbot.waitUntil(lambda: panel.model.entry_at(1).differs() and not panel.work.busy, timeout=20000)
    assert panel.model.data(panel.model.index(0, SECOND_CAPTION)) == "A A INDEED"
    assert texts(panel) == ["a a indeed", "a b indeed"]
    panel.view.list.choose(panel.model.entry_at(1).path)
    panel.edits.accept_best("b")
    assert texts(panel) == ["a a indeed", "A B INDEED"]
    assert panel.model.entry_at(1).author == "b"
    assert "other" in panel.view.detail.provenance.text()
    panel.view.detail.set_titles({"a": "chosen later", "b": "chosen later"})
    heads = [item.text() for item in panel.view.detail._items() if not item.flags() & Qt.ItemFlag.ItemIsSelectable]
    assert heads[1] == "other · step 30", "who said it, not who is chosen now"
    panel.view.tools.compare.click()
    assert panel.model.columnCount() == 3


def test_captioning_is_stopped_and_resumed_and_survives_a_dead_worker(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    panel.view.target.accept_paths(images(tmp_path, "a.png", "slow.png", "z.png"))
    qtbot.waitUntil(lambda: len(panel.model) == 3 and texts(panel)[0] == "a a indeed", timeout=10000)
    panel.view.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "stopped" in panel.view.bar.text)
    assert texts(panel) == ["a a indeed", "", ""]
    panel.view.list.choose(panel.model.entry_at(1).path)
    panel.edits.remove()
    panel.view.bar.press_remedy()
    qtbot.waitUntil(lambda: texts(panel) == ["a a indeed", "a z indeed"])
    panel.view.target.accept_paths(images(tmp_path / "p", "die.png"))
    qtbot.waitUntil(lambda: "exited with code 3" in panel.view.bar.text, timeout=10000)
    assert "memory access fault" in panel.view.bar._details.toPlainText()
    assert texts(panel) == ["a a indeed", "a z indeed", ""]
    panel.view.list.choose(panel.model.entry_at(2).path)
    panel.edits.remove()
    drop(qtbot, panel, images(tmp_path / "q", "e.png"))
    qtbot.waitUntil(lambda: texts(panel) == ["a a indeed", "a z indeed", "a e indeed"])


__all__ = ["works"]  # fixture
SAID = ModelCaptions("k", (Candidate("a red cat", -1.0, -0.5), Candidate("a cat", -2.0, -0.7)))


def test_each_model_resumes_its_own_remaining_images_once(works: Works) -> None:
    work, model = works.work, works.model
    model.add_paths(["a", "b"])
    work.compares = True
    work.caption(["a", "b"])
    one, two = works.workers["one"], works.workers["two"]
    for worker in (one, two):
        worker.answer("caption_open", FACTS)
        caption(worker, 0)
    caption(one, 1)
    one.answer("caption", {})
    two.failed.emit(len(two.asked), Failure("It ended."))
    count, remedy = len(one.asked), works.messages[-1].remedy
    assert remedy is not None
    remedy.do()
    two.answer("caption_open", FACTS)
    assert (works.asked("two"), len(one.asked)) == (["b"], count), "the first has left nothing"
    caption(two, 0)
    two.answer("caption", {})
    count = len(two.asked)
    remedy.do()
    assert (len(two.asked), work.busy) == (count, False), "nothing is left any more"


def test_a_model_that_could_not_be_loaded_is_loaded_again_and_finished_images_are_not_captioned_again(
    works: Works,
) -> None:
    work = works.work
    works.model.add_paths(["a"])
    work.caption(["a"])
    one = works.workers["one"]
    one.fail("caption_open", Failure("It ended."))
    for number in range(2):
        remedy = works.messages[-1].remedy
        assert remedy is not None
        remedy.do()
        if number == 0:
            one.answer("caption_open", FACTS)
            caption(one, 0)
            one.answer("caption", {})
            work.open("a")
            one.fail("caption_open", Failure("The file is gone."))
    assert one.asked[-1][0] == "caption_open"
    assert not work.busy


def filled(panel: CaptionsPanel) -> CaptionsPanel:
    """Images that a model captioned, a person did, and none did."""
    entries = [
        Entry("/p/a.png", 0).with_captions("a", SAID), Entry("/p/b.png", 1, "a red dog", HAND_WRITTEN),
        Entry("/p/c.png", 2),
    ]  # fmt: skip
    panel.model.add(entries)
    return panel


def replaced(panel: CaptionsPanel, words: str, replacement: str) -> list[str]:
    panel.edits.replace_all(finder(words, replacement, case=True, whole_words=True, regular=False))
    return texts(panel)


def test_filtered_out_rows_are_exported_and_not_replaced_and_only_captions_go_to_the_basket(
    qtbot: QtBot, open_panel: OpenPanel
) -> None:
    panel = filled(open_panel())
    panel.view.tools.filter_box.setText("dog")
    panel.view.tools._emit_filter()
    assert panel.model.rowCount() == 1
    assert replaced(panel, "red", "blue") == ["a red cat", "a blue dog", ""]
    assert [Path(one.path).name for one in panel._to_export()] == ["a.png", "b.png"]
    panel.view.tools.filter_box.clear()
    panel.view.tools._emit_filter()
    basket = panel._services.basket
    panel.view.list.setFocus()
    panel.view.list.choose("/p/c.png")
    qtbot.keyClick(panel.view.list, Qt.Key.Key_B, CTRL | Qt.KeyboardModifier.AltModifier)
    panel._services.writer.wait()
    assert panel._services.store.fixes() == ()
    flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
    panel.view.list.selectionModel().select(panel.model.index(1, CAPTION), flags)
    qtbot.keyClick(panel.view.list, Qt.Key.Key_B, CTRL | Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: basket.count == 1)
    assert [entry.fix.path for entry in panel._services.store.fixes()] == ["/p/b.png"]
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Home)  # no Control is held any more
    panel.model.remove([entry.path for entry in panel.model.entries()])
