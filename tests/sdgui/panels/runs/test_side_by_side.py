"""Samples of several runs side by side: each at its last validation by the step that is chosen."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.events import Sample
from sdgui.panels.runs.compare.board import MOST, SamplesBoard
from sdgui.shared.services import Services
from sdgui.store.records import StoreError
from sdgui.widgets.style.theme import theme


def found(run: str, step: int, captions: tuple[str, ...] = ("a hat", "a boat")) -> Sample:
    def entries(network: str) -> list[dict[str, object]]:
        image = f"/{run}-{network}-{step}"
        return [{"caption": caption, "image": "/0.png", "hits": [{"image": f"{image}-{caption[2:]}.png", "score": 0.5,
                 "true": False}]} for caption in captions]  # fmt: skip

    return Sample(step=step, what="retrieval", content={"student": entries("student"), "teacher": entries("teacher")})


def locked(*_: object) -> None:
    raise StoreError("The database is locked.")


def test_each_run_is_shown_at_its_last_validation_by_the_step(
    qtbot: QtBot, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tailer = services.store, services.tailer
    experiment = store.add_experiment(preset_config("clip", "tiny"))
    runs = [store.add_run(experiment.id).id for _ in range(3)]
    for run_id, name, steps in zip(runs, "abc", ((10, 30), (20, 40), ()), strict=True):
        tailer.show(run_id).apply([found(name, step) for step in steps])
    holder = SamplesBoard(services, None)  # type: ignore[arg-type]
    qtbot.addWidget(holder)
    holder.show_runs([])
    holder.show()
    assert holder.step.text() == "Samples are recorded at validation; tick runs to compare what they find"
    assert not holder.slider.isEnabled()
    holder.hide()
    holder.show_runs(runs)
    assert holder._steps == [], "nobody sees it"
    holder.show()

    def shown() -> list[tuple[str, list[str]]]:
        return [(column.step.text(), [item.path.name for item in column.gallery.items()]) for column in holder._columns]

    assert holder._steps == [10, 20, 30, 40]
    assert shown() == [
        ("Step 30", ["a-student-30-hat.png"]), ("Step 40", ["b-student-40-hat.png"]), ("No samples by then", []),
    ]  # fmt: skip
    assert (holder.slider.isEnabled(), holder.step.text()) == (True, "Step 40")
    first = holder._columns[0]
    assert first.name.text() == first.name.toolTip() == store.run_labels([runs[0]])[runs[0]].name
    assert first.gallery.accessibleName() == f"Images found by {first.name.text()}"
    assert theme().run_color(0).name() in first.name.styleSheet()
    holder.slider.setValue(0)
    assert holder.step.text() == "Step 10"
    assert shown()[:2] == [("Step 10", ["a-student-10-hat.png"]), ("No samples by then", [])]
    holder.captions.setCurrentRow(1)
    holder.network.setCurrentIndex(holder.network.findData("teacher"))
    assert shown()[0][1] == ["a-teacher-10-boat.png"]
    tailer.curves_changed.emit(runs[0], tailer.show(runs[0]).apply([found("a", 50)]))
    assert holder._steps[-1] == 50
    assert shown()[0][0] == "Step 10", "who looks back stays there"
    tailer.curves_changed.emit(runs[1], tailer.show(runs[1]).apply([found("b", 5)]))
    assert holder._steps[0] == 5
    assert shown()[0][0] == "Step 10", "the step stays, whichever place it has now"
    assert holder.captions.currentRow() == 1
    holder.slider.setValue(holder.slider.maximum())
    tailer.curves_changed.emit(runs[1], tailer.show(runs[1]).apply([found("b", 60)]))
    assert shown()[1][0] == "Step 60", "who looks at the newest goes on with it"
    holder.show_runs(runs[1:])
    assert [column.isVisible() for column in holder._columns] == [True, True, False]
    assert shown()[0][0] == "Step 60"
    with monkeypatch.context() as broken:
        broken.setattr(store, "run_labels", locked)
        holder._reload_if_shown(runs[1])
    assert shown()[0][0] == "Step 60", "what cannot be read leaves what is there"
    holder._reload_if_shown(runs[0])
    tailer.curves_changed.emit(runs[1], frozenset({"train/loss"}))
    holder.hide()
    tailer.curves_changed.emit(runs[1], tailer.show(runs[1]).apply([found("b", 70, ("x" * 500,))]))
    assert holder._steps[-1] == 60, "nobody sees it"
    holder.show()
    assert (holder._steps[-1], len(holder.captions.item(0).text()) <= 400) == (70, True)
    assert shown()[0][1] == [f"b-teacher-70-{'x' * 498}.png"], "by the whole caption"
    holder.show_runs(range(20))
    assert len(holder._ids) == MOST
