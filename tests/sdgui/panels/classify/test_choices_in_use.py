"""Which probe, label and notes Classify uses: of the shown result, a loaded probe, or data not read yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdgui.panels.classify.kept import keep, kept_results
from sdgui.panels.classify.model import LAYER
from sdgui.store.store import Store
from tests.sdgui.panels.classify.classifying import OpenClassify, a_measure, a_result


def test_the_probe_in_use_is_that_of_the_shown_result_else_the_loaded_else_the_newest(
    open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    results = panel.view.results
    older, newer = a_result(a_measure("image")), a_result(a_measure("fused"))
    words = a_result(a_measure("zero-shot"), can_save=False)
    results.add(words)
    assert (panel.probe(), results.save_probe.isEnabled(), results.apply.isEnabled()) == (None, False, False)
    for one in (older, newer, words):
        results.add(one)
    assert panel.probe() == newer.measure
    assert (results.save_probe.isEnabled(), results.apply.isEnabled()) == (True, True)
    monkeypatch.setattr(panel.session, "load", lambda _probe, done, _failed: done("key"))
    panel.load_probe(folder / "mine.safetensors")
    loaded = panel.probe()
    assert loaded is not None
    assert (loaded.method, loaded.path) == ("saved", str(folder / "mine.safetensors"))
    assert panel.view.strip.isHidden()
    results.choose(older.measure)
    assert panel.probe() == older.measure


def test_the_label_that_is_wanted_holds_while_the_data_are_not_read_yet(
    open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify("")
    source, settings = panel.view.source, panel._services.settings
    source.set_label("tone")
    source.data.set_source(str(folder / "small.csv"))
    assert source.chosen_label() == ""
    target = source.target()
    assert target is not None
    assert (target.label, target.data) == ("tone", str(folder / "small.csv"))
    source.save()
    assert settings.value("classify/label") == "tone", "who closes the window now has not lost it"


def test_notes_are_those_of_the_shown_result_and_its_data_each_once(open_classify: OpenClassify) -> None:
    panel = open_classify("")
    one = a_result(notes=["few images.", "C was chosen."])
    other = a_result(a_measure(model="other@best"))
    opened = {"model": {"layers": [LAYER]}, "notes": ["old weights.", "few images."]}
    panel.session.data_opened.emit(one.measure.target, opened)
    panel.view.results.add(one)
    assert panel.view.notes.text().splitlines() == ["old weights.", "few images.", "C was chosen."]
    panel.view.results.add(other)
    assert panel.view.notes.isHidden()


def test_results_that_another_version_kept_are_passed_over(tmp_path: Path) -> None:
    store, good = Store.open(tmp_path), a_result(result="k", kind="linear-probe")
    keep(store, good)
    (kept,) = store.kept_results("classify")
    answer = kept.content["answer"]
    cells = answer["confusion"] | {"count": ["many"]}
    for number, content in enumerate(
        (
            {},
            {"answer": 5},
            {"answer": answer},
            {"answer": answer, "measure": {"method": "by ear"}},
            {"answer": answer | {"confusion": cells}, "measure": kept.content["measure"]},
            {"answer": answer | {"metrics": 5}, "measure": kept.content["measure"]},
        )
    ):
        store.keep_result("classify", str(number), "/d.csv", content)
    assert [result.measure for result in kept_results(store)] == [good.measure]
    store.close()


def test_the_images_beside_the_current_one_are_asked_for_after_it_and_for_themselves(
    open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(panel.session, "try_images", lambda *given: asked.append(given))
    found = a_result()
    panel.view.results.add(found)
    first, second = (str(folder / "images" / f"{number}-1.png") for number in range(2))
    panel.view.trying.add([first, second])
    purpose, model, probe, images, _, done, _ = asked[-1]
    assert (purpose, model, probe, images) == ("try", ("run@best", "teacher"), found.measure, [first])
    done({"images": [{"image": first, "probe": None, "zero_shot": None, "error": ""}]})
    assert (asked[-1][0], asked[-1][3]) == ("try more", [second]), "the next current one does not end it"
    count = len(asked)
    panel.view.trying.show_probe("another", "another")
    done({"images": [{"image": second, "probe": None, "zero_shot": None, "error": "torn"}]})
    assert second not in panel.view.trying._answers, "it is no answer of the probe that is used now"
    assert len(asked) == count + 1, "it is asked for again"
