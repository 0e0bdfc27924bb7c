"""The slider from initial to tuned weights: beside a chip; with a real worker in Search, Classify and Caption."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.exporting.export import export_model
from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.training.train import train
from core.worker.searching import SearchSession
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.panels.classify.panel import ClassifyPanel
from sdgui.panels.search.panel import SearchPanel
from sdgui.shared.pickers.entries import ModelChoice, recent_choices, run_entry
from sdgui.shared.pickers.interpolation import InterpolationSlider
from sdgui.shared.pickers.model_chip import ModelChip
from sdgui.shared.services import Services
from sdgui.store.records import Run
from tests.core.labelled import write_labelled
from tests.sdgui.conftest import leave
from tests.sdgui.shared.pickers.test_model_chip import run_of, save

LONG = 240_000  # ms: a worker loads torch


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
    return chip


@pytest.fixture
def slider(qtbot: QtBot, chip: ModelChip) -> InterpolationSlider:
    slider = InterpolationSlider(chip)
    qtbot.addWidget(slider)
    slider.setWindowFlag(Qt.WindowType.Window)
    return slider


def tuned_run(services: Services, name: str = "adapted", pretrained: str = "/models/base") -> Run:
    run = run_of(services, name)
    run.dir.config.write_text(json.dumps({"towers": {"architecture": "sd-tiny", "pretrained": pretrained}}))
    save(run.dir, 3)
    return run


def test_the_slider_is_shown_for_a_fine_tuned_run_alone_and_moves_by_keys(
    qtbot: QtBot, services: Services, chip: ModelChip, slider: InterpolationSlider
) -> None:
    run, scratch = tuned_run(services), run_of(services, "scratch")
    save(scratch.dir, 3)
    names: list[str] = []
    chip.interpolated.connect(lambda choice: names.append(choice.model))
    assert chip.choose_run(scratch.id)
    assert not slider.isVisible()
    assert chip.choose_run(run.id)
    assert slider.isVisible()
    assert slider.value.text() == "1.00"
    assert "base" in slider.slider.toolTip()
    for _ in range(6):  # faster than the slider settles: only the last value is used
        qtbot.keyClick(slider.slider, Qt.Key.Key_Left)
    qtbot.waitUntil(lambda: bool(names))
    assert names == [f"interpolated:{run.folder}@best@0.7"]
    assert "alpha 0.7" in chip.text()
    qtbot.mouseDClick(slider.slider, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: names[-1] == f"{run.folder}@best")
    assert [choice.model for choice in recent_choices(services.settings)] == [
        f"{run.folder}@best",
        f"{scratch.folder}@best",
    ]
    slider.set_available(False)  # an index belongs to the weights that made it
    assert not slider.isVisible()


def test_a_second_model_is_chosen_in_the_list_and_both_are_restored(
    qtbot: QtBot, services: Services, chip: ModelChip, slider: InterpolationSlider
) -> None:
    first, second = (run_of(services, name) for name in ("mint", "plum"))
    for run in (first, second):
        save(run.dir, 3)
    assert chip.choose_run(first.id)
    chip.show()
    chip.open()
    qtbot.waitUntil(lambda: chip.popover.lines.rowCount() > 0, timeout=20000)
    qtbot.mouseClick(chip.popover.interpolate, Qt.MouseButton.LeftButton)
    qtbot.keyClicks(chip.popover.line, "plum")
    qtbot.keyClick(chip.popover.line, Qt.Key.Key_Return)
    name = f"interpolated:{first.folder}@best;{second.folder}@best@0.5"
    assert chip.choice() == ModelChoice(
        name, "student", "mint · run 1 · best, step 3 · alpha 0.5 with plum · run 1 · student", first.id
    )
    assert slider.isVisible()
    assert slider.initial.text() == "plum · run 1"
    state = json.dumps(chip.state())
    assert chip.choose_run(second.id)
    assert not slider.isVisible()
    assert chip.restore_state(state)
    assert (chip.alpha, slider.value.text(), slider.isVisible()) == (0.5, "0.50", True)
    choice = chip.choice()
    assert choice is not None
    assert choice.model == name


def test_a_model_of_another_architecture_is_refused(
    services: Services, chip: ModelChip, slider: InterpolationSlider
) -> None:
    run, other = tuned_run(services), run_of(services, "other", "sd-coca-tiny")
    save(other.dir, 3)
    refused: list[str] = []
    chip.refused.connect(refused.append)
    assert chip.choose_run(run.id)
    before = chip.choice()
    entry = run_entry(services.store, services.store.run(other.id), "search")
    assert entry is not None
    chip.set_initial(entry)
    assert refused == [
        "other · run 1 cannot be interpolated with adapted · run 1: its architecture is sd-coca-tiny, not sd-tiny. "
        "Choose a model of the same architecture."
    ]
    assert chip.choice() == before
    assert slider.value.text() == "1.00"


@pytest.mark.slow
def test_results_of_a_real_worker_follow_the_slider(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    train_data, val_data = write_labelled(tmp_path / "pairs")
    wanted = [f"data.train={train_data}", f"data.val={val_data}", "optim.batch_size=12", "optim.learning_rate=0.01"]
    base, tuned, other = (RunDir(tmp_path / name) for name in ("base", "tuned", "other"))
    train(override(preset_config("coca", "tiny"), [*wanted, "optim.epochs=1"]), base, quiet=True)
    own = [*wanted, "optim.epochs=2", f"towers.pretrained={base.path}"]
    train(override(preset_config("coca", "tiny"), own), tuned, quiet=True)
    train(override(preset_config("clip", "tiny"), [*wanted, "optim.epochs=1"]), other, quiet=True)
    make_application()
    services = make_services(tmp_path / "home")
    window = MainWindow(services)
    run, other_run = (services.store.import_run(found.path) for found in (tuned, other))
    window.reload()
    window.show()
    qtbot.waitUntil(lambda: bool(window.panels))
    try:
        _search(qtbot, window, run, other_run, val_data.parent)
        _classify(qtbot, window, run, val_data)
        _caption(qtbot, window, run, sorted(val_data.parent.glob("*.png"))[:2])
    finally:
        leave(window, qtbot)
        services.store.close()


def _search(qtbot: QtBot, window: MainWindow, run: Run, other: Run, images: Path) -> None:
    panel = window.show_panel("search")
    assert isinstance(panel, SearchPanel)
    panel.use_run(run.id)
    side, session, source = panel.view.sides[0], panel.sessions[0], panel.view.source
    qtbot.waitUntil(lambda: session.facts is not None, timeout=LONG)
    source.collection.search_folder(str(images))
    panel.focus_search()
    qtbot.keyClicks(panel.view.query.line, "a red circle")
    qtbot.waitUntil(lambda: side.answer is not None and side.query.words == "a red circle", timeout=LONG)
    opened: list[str] = []
    session.collection_opened.connect(lambda facts: opened.append(facts["model"]))
    slider = source.interpolations[0]
    slider.slider.setValue(30)
    qtbot.waitUntil(lambda: session.opening, timeout=LONG)
    assert side.gallery.items()  # of the tuned weights, until the others' come
    slider.slider.setValue(60)
    qtbot.waitUntil(lambda: bool(opened) and side.answer is not None and panel.queries.answered, timeout=LONG)
    assert [name.rpartition("@")[2] for name in opened] == ["0.6"]  # those of 0.3 were dropped
    model = f"interpolated:{run.folder}@best@0.6"
    session_here = SearchSession()
    key = session_here.open(_Quiet(), model=model, weights="student", data=str(images), cache=str(images / "kept"))[
        "key"
    ]
    rows = session_here.query(_Quiet(), key=key, texts=["a red circle"])["rows"]
    assert side.answer is not None
    assert [row["path"] for row in side.answer["rows"]] == [row["path"] for row in rows]
    assert side.answer["rows"][0]["cosine"] == pytest.approx(rows[0]["cosine"], abs=1e-5)
    entry = run_entry(window.services.store, other, "search")
    assert entry is not None
    source.pickers[0].set_initial(entry)
    assert "its architecture is" in panel.view.bar.text
    _save(qtbot, window, panel, run)


def _save(qtbot: QtBot, window: MainWindow, panel: SearchPanel, run: Run) -> None:
    """Save half of the initial and half of the tuned weights, which every chip then lists."""
    panel.use_run(run.id)
    slider = panel.view.source.interpolations[0]
    slider.slider.setValue(50)
    qtbot.mouseClick(slider.save, Qt.MouseButton.LeftButton)
    dialog = window.dialogs._export
    assert dialog is not None
    qtbot.waitUntil(lambda: dialog.checkpoint.count() > 0)
    out = Path(dialog.folder.text())
    assert out.name.endswith("alpha-0.5")
    qtbot.mouseClick(dialog.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(dialog.outcome.text()) or bool(dialog.bar.text), timeout=LONG)
    assert dialog.bar.text == ""
    wanted = export_model(f"interpolated:{run.folder}@best@0.5", "", out.with_name("here"), "open_clip")
    weights = "open_clip_model.safetensors"
    assert (out / weights).read_bytes() == (wanted / weights).read_bytes()
    assert "0.5 times coca" in (out / "README.md").read_text()
    assert recent_choices(window.services.settings)[0].model == str(out)
    dialog.close()


def _classify(qtbot: QtBot, window: MainWindow, run: Run, data: Path) -> None:
    panel = window.show_panel("classify")
    assert isinstance(panel, ClassifyPanel)
    panel.use_run(run.id)
    source, results = panel.view.source, panel.view.results
    source.data.set_source(str(data))
    qtbot.waitUntil(lambda: source.data.facts() is not None, timeout=LONG)
    source.set_label("colour")
    source.set_method("zero-shot")
    source.classify_button.click()
    qtbot.waitUntil(lambda: len(results.results()) == 1, timeout=LONG)

    def models() -> list[str]:
        return [result.evaluation.target.model for result in results.results()]

    for alpha in (0.7, 0.4):  # the second replaces the first
        name = f"interpolated:{run.folder}@best@{alpha}"
        source.interpolation.slider.setValue(round(100 * alpha))
        qtbot.waitUntil(lambda name=name: models()[0] == name, timeout=LONG)
    current = results.current()
    assert current is not None
    assert current.evaluation.target.model.endswith("@0.4")
    assert models()[1:] == [f"{run.folder}@best"]


def _caption(qtbot: QtBot, window: MainWindow, run: Run, images: list[Path]) -> None:
    panel = window.show_panel("caption")
    assert isinstance(panel, CaptionsPanel)
    panel.use_run(run.id)
    panel.add_paths([str(path) for path in images])
    model = panel.model
    qtbot.waitUntil(lambda: model.rowCount() == 2 and all(e.text for e in model.entries()), timeout=LONG)
    qtbot.waitUntil(lambda: not panel.work.busy, timeout=LONG)
    before = [entry.captions["a"].origin for entry in model.entries()]
    panel.view.list.choose(str(images[0]))
    panel.view.tools.interpolations["a"].slider.setValue(50)
    qtbot.waitUntil(lambda: model.entries()[0].captions["a"].origin != before[0], timeout=LONG)
    origins = [panel._origins[entry.captions["a"].origin]["model"] for entry in model.entries()]
    assert [origin.endswith("alpha 0.5") for origin in origins] == [True, False]  # the selected image alone


class _Quiet:
    def __call__(self, doing: str, done: int, total: int, /) -> None:
        pass

    def partial(self, result: object) -> None:
        pass
