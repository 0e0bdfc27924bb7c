"""How Ctrl+K ranks what it finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.actions.palette import CommandPalette, Entry, match

TITLES = ["Launch", "Search", "Queue", "Tags and note…", "New experiment: CLIP, demo", "sd-clip demo · run 12"]


def best(words: str) -> str:
    scored = [(score, title) for title in TITLES if (score := match(words, title)) is not None]
    return max(scored)[1]


def test_letters_in_order_find_it() -> None:
    assert best("lnch") == "Launch"
    assert best("clip demo new") == "New experiment: CLIP, demo"
    assert best("run 12") == "sd-clip demo · run 12"
    assert best("note") == "Tags and note…"


def test_a_letter_that_is_missing_rules_it_out() -> None:
    assert match("launchx", "Launch") is None
    assert match("hcraes", "Search") is None


@given(st.text(max_size=20), st.text(max_size=30))
def test_a_title_answers_its_own_parts(words: str, rest: str) -> None:
    assert match(words, f"{rest} {words}") is not None


def test_it_starts_with_what_is_usual_and_finds_words_of_descriptions(qtbot: QtBot) -> None:
    used: list[str] = []
    about = "Cycle between system, light and dark"
    entries = [Entry(title, "Run", lambda title=title: used.append(title)) for title in ("Launch", "Pause", "Dare")]
    entries.append(Entry("Switch appearance", "View", lambda: used.append("appearance"), about))
    parent = QWidget()
    qtbot.addWidget(parent)
    palette = CommandPalette(parent)

    def listed() -> list[str]:
        return [palette.list.item(row).text().partition("   ")[0] for row in range(palette.list.count())]

    palette.open(entries)
    assert listed() == ["Launch", "Pause", "Dare", "Switch appearance"], "as they are given"
    palette.line.setText("dark")
    assert listed() == ["Switch appearance"]
    palette.line.setText("dar")
    assert listed() == ["Dare", "Switch appearance"], "titles before descriptions"
    palette.line.setText("pause")
    palette._choose(palette.list.currentItem())
    palette.open(entries)
    assert listed() == ["Pause", "Launch", "Dare", "Switch appearance"], "what was used last comes first"
    assert used == ["Pause"]
