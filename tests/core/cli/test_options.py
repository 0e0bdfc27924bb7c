"""Options of commands are applied, and exit codes report the outcome."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import core.checkpoint.opening
import core.evaluation.evaluate
import core.evaluation.noise
import core.search.collection
import core.search.index.build
import core.search.results
import core.studies.chain.run
import core.studies.study.queue
import core.training.train
from core.__main__ import main, make_parser
from core.cli import terminal
from core.cli.evaluating import _numbers
from core.spec.chain import preset_chain
from core.spec.config import override, read_config
from core.spec.errors import UserError
from core.spec.presets import preset_config

Printed = pytest.CaptureFixture[str]


def test_presets_are_printed_with_the_requested_size_and_fields(capsys: Printed) -> None:
    assert main(["presets", "clip", "--size", "tiny", "--set", "seed=3"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(
        override(preset_config("clip", "tiny"), ["seed=3"]).to_json()
    )
    assert main(["presets", "born-again", "--chain", "--size", "tiny", "--generations", "4", "--set", "seed=3"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(
        preset_chain("born-again", "tiny", 4).with_settings(["seed=3"]).to_json()
    )


@pytest.mark.parametrize(
    "command",
    ["evaluate x", "interpolate x", "caption x y", "index x y z", "search x", "noise x", "export x y", "train x y"],
)
def test_every_verb_that_opens_a_model_can_be_allowed_to_run_its_code(command: str) -> None:
    assert make_parser().parse_args([*command.split(), "--allow-code"]).allow_code


@pytest.mark.parametrize(
    ("raised", "status", "said"), [(KeyboardInterrupt(), 130, "interrupted"), (BrokenPipeError(), 1, "")]
)
def test_exit_codes_of_verbs(
    raised: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise raised

    dropped: list[bool] = []
    monkeypatch.setattr("core.cli.training.preset_names", end)
    monkeypatch.setattr("core.__main__.drop_output", lambda: dropped.append(True))
    assert main(["presets"]) == status
    assert capsys.readouterr().err.strip() == said
    assert bool(dropped) == isinstance(raised, BrokenPipeError)


def test_progress_is_printed_on_change_and_at_intervals(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    clock = iter([100.0, 101.0, 102.0, 108.0, 109.0])
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    show: Callable[[str, int, int], None] = terminal.periodic_progress(5.0)
    for doing, done in (("reading", 0), ("reading", 1), ("encoding", 1), ("encoding", 2), ("encoding", 3)):
        show(doing, done, 9)
    assert capsys.readouterr().err.splitlines() == ["reading", "encoding 1/9", "encoding 2/9"]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"sdgui-core {core.__version__}\n"


@pytest.mark.parametrize("command", [["train", "clip.json"], ["export", "RUN"], ["demo-data"], ["shard", "data.csv"]])
def test_an_empty_folder_is_not_the_current_one(
    command: list[str], capsys: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main([*command, ""])
    assert "the path is empty" in capsys.readouterr().err
    assert main(["export", "", "out"]) == 1
    assert "the model's name is empty" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_config_may_begin_with_a_byte_order_mark(capsys: Printed, tmp_path: Path) -> None:
    assert main(["presets", "clip", "--size", "tiny"]) == 0
    config = capsys.readouterr().out
    (tmp_path / "clip.json").write_text(config, encoding="utf-8-sig")
    assert read_config(tmp_path / "clip.json").to_json() == config


def test_wrong_arguments_are_refused_before_a_model_is_opened(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "run").mkdir()
    run, out = str(tmp_path / "run"), str(tmp_path / "gone" / "ranked.csv")
    assert main(["noise", run, "--csv", out]) == 1
    assert f"there is no folder {tmp_path / 'gone'}" in capsys.readouterr().err
    with pytest.raises(UserError, match="is not a number of images"):
        _numbers(["9" * 5000])
