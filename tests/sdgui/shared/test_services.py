"""What is overlaid of a selection, and the colours that runs get while they are overlaid."""

from __future__ import annotations

import pytest

from sdgui.shared.run_colors import COLORS, RunColors
from sdgui.shared.services import Selection


@pytest.mark.parametrize(
    ("selection", "watched"),
    [
        (Selection(), ()),
        (Selection(current_run=4), (4,)),
        (Selection(ticked=(1, 2)), (1, 2)),
        (Selection(current_run=4, ticked=(1, 2)), (1, 2, 4)),
        (Selection(current_run=2, ticked=(1, 2)), (1, 2)),
        (Selection(study_runs=(7, 8)), (7, 8)),
        (Selection(study_runs=(7, 8), ticked=(1,)), (1,)),
        (Selection(study_runs=(7, 8), current_run=7), (7,)),
    ],
)
def test_ticked_runs_are_overlaid_with_the_current_one_or_else_a_whole_study(
    selection: Selection, watched: tuple[int, ...]
) -> None:
    assert selection.watched == watched


def test_a_run_keeps_its_colour_while_it_is_overlaid() -> None:
    colors = RunColors()
    colors.give([5, 6, 7])
    assert [colors.of(run) for run in (5, 6, 7, 8)] == [0, 1, 2, None]
    colors.give([7, 9, 6])
    assert [colors.of(run) for run in (5, 6, 7, 9)] == [None, 1, 2, 0], "the first that is free"
    colors.give(range(COLORS + 2))
    given = [colors.of(run) for run in range(COLORS + 2)]
    assert sorted(given[:COLORS]) == list(range(COLORS)), "all of them differ"  # type: ignore[type-var]
    assert len(set(given[COLORS:])) == 2, "then those least used come again"
    colors.fix({1: 3, 2: 3})
    assert [colors.of(run) for run in (0, 1, 2)] == [None, 3, 3]
