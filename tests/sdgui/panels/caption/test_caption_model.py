"""The list of captions against a plain list, over any sequence of changes; entries through the store and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QPlainTextEdit
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate
from sdgui.app.start import make_application
from sdgui.panels.caption.list.commands import WriteTexts, typed_text
from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.list.table import CaptionsList
from sdgui.panels.caption.model import Entry, ModelCaptions, entry_of, to_kept_caption


class CountingModel(CaptionsModel):
    """Counts what is asked of it."""

    asked = 0

    def flags(self, index: QModelIndex | QPersistentModelIndex) -> Qt.ItemFlag:
        self.asked += 1
        return super().flags(index)


def test_selecting_all_queries_no_row(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    model = CountingModel()
    model.add_paths(f"/p/{number}.png" for number in range(3000))
    view = CaptionsList(model, tmp_path)
    qtbot.addWidget(view)
    view.resize(600, 300)
    view.show()
    qtbot.wait(50)
    before = model.asked
    view.selectAll()
    view.horizontalHeader().repaint()
    view.viewport().repaint()
    assert model.asked - before < 500
    assert (view.selected_count(), len(view.selected())) == (3000, 3000)
    view.choose("/p/7.png")
    assert view.selected_count() == 1
    view.close_threads()


def test_answers_keep_text_being_typed(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    model = CaptionsModel()
    model.add_paths(f"/p/{number}.png" for number in range(4))
    view = CaptionsList(model, tmp_path)
    qtbot.addWidget(view)
    view.show()

    def answer(text: str, *paths: str) -> None:
        made = ModelCaptions("k", (Candidate(text, -1.0, -1.0),))
        model.update([entry.with_captions("a", made) for path in paths if (entry := model.entry(path)) is not None])

    view.choose("/p/2.png")
    view.edit_current()
    editor = view.findChild(QPlainTextEdit)
    answer("made", "/p/0.png", "/p/2.png", "/p/3.png")
    assert editor.toPlainText() == "made"  # nothing was typed: the answer is what Enter would keep
    qtbot.keyClicks(editor, "a red heart")
    answer("made again", "/p/0.png", "/p/2.png", "/p/3.png")
    qtbot.keyClicks(editor, "s")
    assert editor.toPlainText() == "a red hearts"
    view.close_threads()


PATHS = st.lists(st.sampled_from([f"/p/{name}.png" for name in "abcdefg"]), max_size=4)
WORD = st.sampled_from(["", "one", "two"])
STEP = st.one_of(
    st.tuples(st.just("add"), PATHS),
    st.tuples(st.just("remove"), PATHS),
    st.tuples(st.just("write"), PATHS, WORD),
    st.tuples(st.just("back"), PATHS),  # entries that stood elsewhere come back there, as undo does
    st.tuples(st.just("filter"), st.sampled_from(["all", "one"])),
)


def has_one(entry: Entry) -> bool:
    return "one" in entry.text


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP, max_size=12))
def test_rows_match_a_plain_list(qapp: object, steps: list[tuple[Any, ...]]) -> None:
    model = CaptionsModel()
    told: dict[str, Entry | None] = {}
    model.changed.connect(lambda entries: told.update({entry.path: entry for entry in entries}))
    model.removed.connect(lambda paths: told.update(dict.fromkeys(paths)))
    plain: dict[str, tuple[int, str]] = {}
    gone: dict[str, Entry] = {}
    last = -1
    for step in steps:
        if step[0] == "add":
            for path in dict.fromkeys(step[1]):
                if path not in plain:
                    last += 1
                    plain[path] = (last, "")
            model.add_paths(step[1])
        elif step[0] == "remove":
            gone.update({path: entry for path in step[1] if (entry := model.entry(path)) is not None})
            plain = {path: what for path, what in plain.items() if path not in step[1]}
            model.remove(step[1])
        elif step[0] == "write":
            known = {path: (step[2], "hand") for path in step[1] if path in plain}
            plain.update({path: (plain[path][0], step[2]) for path in known})
            WriteTexts(model, known, "x").redo()
        elif step[0] == "back":
            back = [gone[path] for path in dict.fromkeys(step[1]) if path in gone and path not in plain]
            plain.update({entry.path: (entry.position, entry.text) for entry in back})
            model.add(back)
        else:
            model.set_filter(has_one if step[1] == "one" else None)
    expected = sorted(plain, key=lambda path: plain[path][0])
    assert [(entry.path, entry.text) for entry in model.entries()] == [(path, plain[path][1]) for path in expected]
    assert {path: entry for path, entry in told.items() if entry is not None} == {e.path: e for e in model.entries()}
    shown = [entry.path for entry in model.visible_entries()]
    assert [path for path in expected if path in shown] == shown
    assert [model.row(path) for path in shown] == list(range(model.rowCount()))
    model.set_filter(has_one)
    assert [entry.path for entry in model.visible_entries()] == [path for path in expected if "one" in plain[path][1]]


NUMBER = st.one_of(st.none(), st.floats(-1e300, 1e300))
CANDIDATE = st.builds(Candidate, st.text(max_size=9), NUMBER, NUMBER)
MADE = st.builds(ModelCaptions, st.text(max_size=5), st.lists(CANDIDATE, max_size=3).map(tuple))


@given(
    st.builds(
        Entry,
        st.text(min_size=1, max_size=9),
        st.integers(0, 99),
        st.text(max_size=9),
        st.sampled_from(["", "a", "b", "hand"]),
        st.text(max_size=9),
        st.dictionaries(st.sampled_from(["a", "b"]), MADE),
    )
)
def test_an_entry_survives_storage(entry: Entry) -> None:
    assert entry_of(to_kept_caption(entry)) == entry


def test_captions_of_a_person_are_never_overwritten_in_any_order() -> None:
    one, two = (ModelCaptions(key, (Candidate(f"{key} best"), Candidate(f"{key} next"))) for key in ("a", "b"))
    entry = Entry("/p/x.png", 0)
    assert entry.with_captions("a", one).with_captions("b", two).text == "a best"
    assert entry.with_captions("b", two).with_captions("a", one).text == "a best"
    assert entry.with_text("mine", "hand").with_captions("a", one).text == "mine"
    taken = entry.with_captions("a", one).with_captions("b", two).with_text("b next", "b")
    assert taken.with_captions("a", one).text == "b next"
    assert taken.candidate() == Candidate("b next")
    assert entry.with_captions("a", one).with_error("gone").text == "a best"
    both = entry.with_captions("a", one).with_captions("b", two)
    assert [typed_text(both, text) for text in ("b next", "mine", "")] == [("b next", "b"), ("mine", "hand"), ("", "")]


def test_a_captioned_image_is_no_longer_refused() -> None:
    made = ModelCaptions("k", (Candidate("a best"),))
    entry = Entry("/p/x.png", 0).with_error("it is torn").with_captions("a", made)
    assert (entry.error, entry.state) == ("", "captioned")
    assert entry.with_error("gone").with_captions("b", made).error == ""
