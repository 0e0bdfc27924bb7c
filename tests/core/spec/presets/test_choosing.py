"""Which preset pays for data and time: the reason says what was measured, and Define warns of too little time."""

from __future__ import annotations

import pytest

from core.__main__ import main
from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.presets.choosing import AHEAD, BEHIND, EVEN, better, choose


@pytest.mark.parametrize(
    ("passes", "wrong", "preset"),
    [(33, False, "clip"), (EVEN - 1, False, "clip"), (EVEN, False, "sd-clip"), (265, False, "sd-clip"),
     (33, True, "sd-clip-lean")],
)  # fmt: skip
def test_what_pays_depends_on_time_and_on_wrong_captions(passes: float, wrong: bool, preset: str) -> None:
    choice = choose(40_000, passes, wrong)
    assert choice.preset == preset
    assert "yours are 40,000" in choice.reason
    assert "2,555" in choice.reason


def test_where_both_are_level_follows_from_what_was_measured_before_and_after() -> None:
    behind, ahead = 6.0, 4.7  # points R@1
    assert round(BEHIND * (AHEAD / BEHIND) ** (behind / (behind + ahead))) == EVEN


def test_too_little_time_for_views_is_said_until_it_is_enough() -> None:
    config = preset_config("sd-clip-every-step", "demo")
    assert "clip makes about 19" in better(config, 2555)
    assert "Train for 30 epochs" in better(config, 2555)
    assert better(override(config, ["optim.epochs=30"]), 2555) == ""
    assert better(preset_config("clip", "demo"), 2555) == ""
    once = preset_config("sd-clip", "demo")
    assert "clip makes about 9. Up to about 36" in better(once, 2555)
    assert "Train for 25 epochs or more, or choose clip." in better(once, 2555)
    assert better(override(once, ["optim.epochs=24"]), 2555) != ""
    assert better(override(once, ["optim.epochs=25"]), 2555) == ""
    assert "clip makes about 19" in better(override(once, ["teacher.every=1"]), 2555), "as runs of 0.1 have it"
    assert better(preset_config("sd-coca", "demo"), 2555) == ""  # of which nothing was measured


def test_the_verb_names_a_preset_and_refuses_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "--pairs", "2555", "--epochs", "33"]) == 0
    assert capsys.readouterr().out.startswith("clip: In the time of 33 passes")
    assert main(["presets", "--pairs", "2555", "--wrong-captions"]) == 0
    assert capsys.readouterr().out.startswith("sd-clip-lean: ")
    for arguments in (["--pairs", "0"], ["--pairs", "5", "--epochs", "nan"]):
        assert main(["presets", *arguments]) == 1
        assert "numbers above 0" in capsys.readouterr().err
