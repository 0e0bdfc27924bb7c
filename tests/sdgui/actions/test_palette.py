"""How Ctrl+K ranks what it finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdgui.actions.palette import match

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
