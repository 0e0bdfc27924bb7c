"""Recommended presets: the reasons quote measurements, and too little compute is reported."""

from __future__ import annotations

import json

import pytest

from core.__main__ import main
from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.presets.choosing import LONGEST, SMOOTHING, choose, why_clip_is_better
from core.spec.resources import resource_folder


@pytest.mark.parametrize(
    ("passes", "wrong", "preset"),
    [(LONGEST, False, "clip"), (300, False, "clip"), (33, True, "clip-filtered")],
)
def test_recommendations_depend_on_mismatched_captions(passes: float, wrong: bool, preset: str) -> None:
    choice = choose(40_000, passes, wrong)
    assert choice.preset == preset
    assert "you have 40,000" in choice.reason
    assert "2,555" in choice.reason
    assert ("Longer training was not measured" in choice.reason) is (passes > LONGEST)


def test_a_pretrained_model_is_adapted_and_a_budget_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "--pairs", "2000", "--pretrained"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("sd-clip-adapt: ")
    assert "mismatched" not in said
    assert main(["presets", "--pairs", "2000", "--pretrained", "--mismatched"]) == 0
    assert "With 40 % mismatched captions" in capsys.readouterr().out
    for arguments in (["--pairs", "0"], ["--pairs", "5", "--epochs", "nan"]):
        assert main(["presets", *arguments]) == 1
        assert "must be above 0" in capsys.readouterr().err
    assert main(["presets", "--pairs", "2555", "--mismatched"]) == 0
    assert capsys.readouterr().out.startswith("clip-filtered: ")
    assert preset_config("sd-clip-adapt", "base").objectives.contrastive.label_smoothing == 0
    assert preset_config("sd-clip-adapt", "demo").objectives.contrastive.label_smoothing == 0.1


def best_control(results: str, condition: str, family: str, measure: str = "gained at 85 %") -> str:
    """The rounded advantage over the best recipe without a teacher in the committed results."""
    rows = json.loads((resource_folder("studies") / "adapting" / f"results-{results}.json").read_text())["primary"]
    wanted = {"condition": condition, "family": family, "measure": measure}
    (row,) = [row for row in rows if row["control"].startswith("trajectory-decay") and wanted.items() <= row.items()]
    assert row["seeds"] == 5
    return f"{row['mean']:.0f} points"


def test_the_advice_on_fine_tuning_quotes_the_results() -> None:
    reason = choose(1000, 33, mismatched=True, pretrained=True).reason
    assert f"gained {best_control('controls', '1000-0', 'adapt-pass')} R@10 more" in reason
    assert f"on 2,900 images {best_control('controls', '2900-0', 'adapt-pass')} more" in reason
    retained = best_control("decay", "200-0", "adapt-pass", "retained at equal gain (70 %)")
    assert f"on 200 images, it gained as much and retained {retained} more" in reason
    assert f"this gained {best_control('decay', '1000-0', 'adapt-images')} more" in reason
    assert f"the difference was {best_control('decay', '1000-40', 'adapt-pass-filter')}" in reason
    assert "Captioning was not measured." in reason
    assert "Neither captioning nor 2,000 pairs were measured." in choose(2000, 33, pretrained=True).reason


def test_recommendations_can_be_trained() -> None:
    assert SMOOTHING in choose(2555, 33).reason
    assert override(preset_config("clip", "demo"), [SMOOTHING]).objectives.contrastive.label_smoothing == 0.3
    reason = choose(2555, 33, mismatched=True).reason
    assert "noise.caption_filter=true noise.self_confidence=0.5" in reason
    recipe = preset_config("clip-filtered", "demo")
    assert (recipe.noise.caption_filter, recipe.noise.self_confidence) == (True, 0.5)


def test_too_little_compute_is_reported_where_known() -> None:
    config = preset_config("sd-clip", "demo")
    assert "clip trains about 9 epochs instead of 6. With label smoothing of 0.3" in why_clip_is_better(config, 2555)
    assert "33, 86 and 244 epochs of clip" in why_clip_is_better(override(config, ["optim.epochs=165"]), 2555)
    assert why_clip_is_better(override(config, ["optim.epochs=166"]), 2555) == ""
    assert why_clip_is_better(preset_config("clip", "demo"), 2555) == ""
    assert why_clip_is_better(preset_config("sd-coca", "demo"), 2555) == ""  # of which nothing was measured
