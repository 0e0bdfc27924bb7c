"""What is overlaid of a selection."""

from __future__ import annotations

import pytest

from sdgui.shared.services import Selection


@pytest.mark.parametrize(
    ("selection", "watched"),
    [
        (Selection(), ()),
        (Selection(current_run_id=4), (4,)),
        (Selection(ticked=(1, 2)), (1, 2)),
        (Selection(current_run_id=4, ticked=(1, 2)), (1, 2, 4)),
        (Selection(current_run_id=2, ticked=(1, 2)), (1, 2)),
        (Selection(study_runs=(7, 8)), (7, 8)),
        (Selection(study_runs=(7, 8), ticked=(1,)), (1,)),
        (Selection(study_runs=(7, 8), current_run_id=7), (7,)),
    ],
)
def test_ticked_runs_are_overlaid_with_the_current_one_or_a_whole_study(
    selection: Selection, watched: tuple[int, ...]
) -> None:
    assert selection.watched == watched
