"""The built-in studies by budget, and the results that come with them: of the same config, printed by the verb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.__main__ import main
from core.spec.config import problems
from core.spec.errors import UserError
from core.spec.study import read_study
from core.spec.study.records import results_problem
from core.studies.study import published
from core.studies.study.published import FOLDER, published_results

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.mark.parametrize("name", ["clean-time", "noisy-time"])
def test_shipped_budget_studies_have_controls_rivals_and_fresh_seeds(name: str) -> None:
    study = read_study(FOLDER.parent / f"{name}.json")
    controls = {"clip", "clip-smooth", "clip-strong-views", "sd-clip-ema-only"}
    if name == "noisy-time":
        controls |= {"clip-tuned", "clip-weighted", "clip-weighted-tuned", "clip-filter-weighted"}
    rivals = {"flip", "siglip", "slip", "maskclip", "silc", "cosmos"}
    assert controls | rivals | {"sd-clip", "sd-clip-every-step", "coca", "sd-coca"} <= {arm.name for arm in study.arms}
    assert {80, 230, 600} <= set(study.budgets)
    assert study.seeds == [10, 11, 12, 13, 14]
    assert not study.val, "recipes are chosen on other data"
    for arm in study.arms:
        assert problems(study.recipe(arm)) == {}, arm.name


@pytest.mark.parametrize("name", NAMES)
def test_published_results_have_the_seeds_and_the_first_arm_of_their_study(name: str) -> None:
    """Arms of removed settings stay in published results; new runs of the study do without them."""
    results, study = published_results(name), read_study(FOLDER.parent / f"{name}.json")
    assert results["machine"]
    done = {arm: found["seeds"] for arm, found in results["arms"].items() if found["seeds"]}
    assert study.arms_to_train[0].name in done
    assert all(set(seeds) <= set(study.seeds) for seeds in done.values())


def test_the_verb_prints_published_results_and_lists_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", NAMES[0], "--published"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"# Study: {NAMES[0]}")
    assert "## Means" in shown
    assert main(["study", "nothing", "--published"]) == 1
    assert f"available: {NAMES[0]}" in capsys.readouterr().err
    with pytest.raises(UserError, match="has no published results"):
        published_results(f"nowhere/{NAMES[0]}")
    assert main(["study", NAMES[0]]) == 1
    assert "specify a folder" in capsys.readouterr().err


def test_damaged_results_raise_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(published, "FOLDER", tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps({"arms": 3}))
    assert results_problem({"arms": 3})
    assert main(["study", "mine", "--published"]) == 1
    assert "mine.json cannot be used" in capsys.readouterr().err
