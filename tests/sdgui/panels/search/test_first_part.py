"""A table is searched in two steps: a first part of its images, then all of them; the demo's once it is drawn."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from sdgui.panels.search.collection import DATA
from sdgui.panels.search.model import Query
from sdgui.panels.search.panel import SearchPanel
from sdgui.runs.demo import DEMO_QUERY
from sdgui.shared.services import Services
from sdgui.widgets.formats import count
from tests.sdgui.panels.scripted_workers import Workers
from tests.sdgui.panels.search.scripted_answers import ONE, opened, results


def test_results_of_the_first_part_are_shown_while_the_rest_is_encoded(
    qtbot: QtBot, workers: Workers, services: Services
) -> None:
    host = QWidget()
    qtbot.addWidget(host)
    panel = SearchPanel(services, host)
    assert panel.view.source.pickers[0].set_choice(ONE)
    panel.show_source("/images/train.csv", "grinning cat")
    worker, button = workers[ONE.model], panel.view.source.button
    assert worker.last("search_open")["first"] > 0
    before = worker.count("search_open")
    opened(panel, workers, key="part", images=250, remaining=2250)
    assert button.text() == f"train.csv · 250 of {count(2500)} images"
    assert worker.last("search_query")["key"] == "part"
    assert "first" not in worker.last("search_open"), "now all of them"
    assert worker.number("search_query") < worker.number("search_open"), "the query is answered first"
    assert worker.count("search_facets") == 0
    worker.answer("search_query", results())
    assert panel.view.sides[0].answer is not None
    assert panel.queries.row_of(0, 10) == -1, "a part has row numbers of its own"
    panel.view.query.set_query(Query("red heart"))
    panel.queries.run()
    assert worker.given_up[-1] == "search_open", "a query does not wait for the rest"
    query, number = worker.last("search_query"), worker.number("search_query")
    assert (query["texts"], query["key"]) == ([{"text": "red heart", "weight": 1.0}], "part")
    assert number < worker.number("search_open"), "which is asked for again"
    worker.answer("search_query", results())
    opened(panel, workers, key="all", images=2500, remaining=0)
    assert button.text() == f"train.csv · {count(2500)} images"
    assert (worker.count("search_open"), worker.last("search_query")["key"]) == (before + 2, "all")
    assert panel.queries.row_of(0, 10) == 10
    panel.view.drop.close_threads()
    panel.view.sides[0].gallery.close_threads()


def test_while_the_demo_is_drawn_no_choice_is_missing(
    qtbot: QtBot, workers: Workers, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdgui.panels.search.source.included_models", list)
    making = [True]
    monkeypatch.setattr(type(services.demo), "making", property(lambda _demo: making[0]))
    host = QWidget()
    qtbot.addWidget(host)
    panel = SearchPanel(services, host)
    title = panel.view.empty.accessibleName
    panel.on_enter()
    assert title() == "Creating the demo images"
    panel.view.source.collection.set_kind(DATA)
    assert panel.view.source.pickers[0].set_choice(ONE)
    assert title() == "Creating the demo images"
    making[0] = False
    services.demo.cancelled.emit()
    assert title() == "No images are chosen"
    assert "such as “red car in the rain”" in panel.view.empty.accessibleDescription()
    panel.show_source("/images/mine")
    services.demo.progress.emit(1, 2, "Drawing the demo images")
    assert title() == "Opening mine", "what was chosen is not replaced"
    panel.view.drop.close_threads()
    panel.view.sides[0].gallery.close_threads()


def test_without_a_usable_run_the_demo_is_offered_with_the_included_model(
    qtbot: QtBot, workers: Workers, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(services.demo), "complete", property(lambda _demo: True))
    run = services.store.add_run(services.store.add_experiment(preset_config("clip", "tiny"), "shapes").id)
    host = QWidget()
    qtbot.addWidget(host)
    panel = SearchPanel(services, host)
    panel.use_run(run.id)
    button = panel.view.demo_button
    assert (button.isHidden(), button.text()) == (False, "Search the demo images")
    button.click()
    target = panel.view.source.target(0)
    assert target is not None
    assert (target.data, target.title) == (str(services.demo.search_table), "emoji-coca")
    panel.view.drop.close_threads()


def test_without_images_the_demo_is_offered(
    qtbot: QtBot, workers: Workers, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_complete, requests = [False], list[str]()
    demo = type(services.demo)
    monkeypatch.setattr(demo, "complete", property(lambda _demo: is_complete[0]))
    monkeypatch.setattr(demo, "make", lambda _demo: requests.append("make"))
    host = QWidget()
    qtbot.addWidget(host)
    panel = SearchPanel(services, host)
    panel.view.source.collection.set_kind(DATA)
    assert panel.view.source.pickers[0].set_choice(ONE)
    button = panel.view.demo_button
    assert (button.isHidden(), button.text()) == (False, "Create the demo images")
    button.click()
    assert requests == ["make"]
    is_complete[0] = True
    services.demo.ready.emit()
    assert button.text() == "Search the demo images"
    button.click()
    assert panel.view.source.collection.data.source() == str(services.demo.search_table)
    assert panel.view.query.query().words == DEMO_QUERY
    assert button.isHidden(), "the images are being opened"
    panel.view.drop.close_threads()
