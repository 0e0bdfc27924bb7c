"""Machines of a study from their names, and whether one of them must train all arms."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core.spec.study.machines import ANY_MACHINE, THIS_COMPUTER, needs_one_machine, select_machines

KNOWN = ["gpu", "far"]


@pytest.mark.parametrize(
    ("on", "names"),
    [
        ([], [""]),
        (["far", "gpu", THIS_COMPUTER, "far"], ["", "far", "gpu"]),  # this computer first, then in the order given
        (["gpu", ANY_MACHINE], ["", "gpu", "far"]),
        (["new"], ["new"]),  # it is said later that there is none
    ],
)
def test_names_resolve_to_machines_once_each(on: list[str], names: list[str]) -> None:
    assert select_machines(on, KNOWN) == names


@pytest.mark.parametrize(
    ("budgets", "arms", "one"), [([], [{}], False), ([60.0], [{}], True), ([], [{}, {"budget": 60.0}], True)]
)
def test_arms_at_equal_compute_train_on_one_machine(budgets: list[float], arms: list[Any], one: bool) -> None:
    study: Any = SimpleNamespace(budgets=budgets, arms=[SimpleNamespace(**{"budget": 0.0} | arm) for arm in arms])
    assert needs_one_machine(study) is one
