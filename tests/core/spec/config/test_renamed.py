"""Names that have changed: the older ones work and are reported, and the table is kept in order."""

from __future__ import annotations

import argparse
import json
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import core
from core.__main__ import main, make_parser
from core.spec.config import ConfigError, RunConfig, override, renamed
from core.spec.config.renamed import RENAMED, OldName, Renamed, current_name, rename_arguments
from core.spec.config.run import field_names, parse_config

ROOT = Path(__file__).parents[4]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a few names had just changed."""
    changed = (
        Renamed("setting", "optim.passes", "optim.epochs", gone="0.4"),
        Renamed("setting", "average.momentum", "teacher.momentum"),
        Renamed("command", "list-presets", "presets", gone="0.4"),
        Renamed("option", "presets --scale", "presets --size", gone="0.4"),
        Renamed("state", "distill_prototypes.centre", "distill_prototypes.targets.centre"),
        Renamed("python", "load", "open_model", gone="0.4"),
    )
    monkeypatch.setattr(renamed, "RENAMED", changed)


def _arguments(parser: argparse.ArgumentParser, command: str = "") -> Iterator[tuple[str, str]]:
    """What a command line knows, as (kind, name)."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                whole = f"{command} {name}".strip()
                yield "command", whole
                yield from _arguments(below, whole)
        yield from (("option", f"{command} {option}") for option in action.option_strings)


def _known() -> set[tuple[str, str]]:
    found = set(_arguments(make_parser()))
    return found | {("setting", name) for name in field_names()} | {("python", name) for name in dir(core)}


def test_the_rename_table_leads_from_missing_to_existing_names() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    known = _known()
    for one in RENAMED:
        assert (one.kind, one.old) not in known, f"{one.old} is a name again"
        assert one.kind == "state" or (one.kind, one.new) in known, f"{one.new} is no name"
        late = one.gone and tuple(map(int, one.gone.split("."))) <= tuple(map(int, version.split(".")[:2]))
        assert not late, f"{one.old} was to go with {one.gone}: take it from the table"


@pytest.mark.usefixtures("table")
def test_a_config_with_older_names_is_read_without_a_warning() -> None:
    raw = json.loads(RunConfig().model_dump_json())
    raw["optim"]["passes"] = raw["optim"].pop("epochs") + 4
    raw["average"] = {"momentum": 0.5}
    del raw["teacher"]["momentum"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = parse_config(json.dumps(raw), "a.json")
    assert (read.optim.epochs, read.teacher.momentum) == (RunConfig().optim.epochs + 4, 0.5)
    raw["optim"] |= {"epochs": 3, "passes": 3}
    with pytest.raises(ConfigError, match=r"optim\.passes"):
        parse_config(json.dumps(raw), "a.json")


@pytest.mark.usefixtures("table")
def test_an_older_command_and_option_work_and_warn_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(OldName, match=r"optim\.passes is now called optim\.epochs.*until version 0\.4"):
        assert override(RunConfig(), ["optim.passes=7"]).optim.epochs == 7
    new_state = "distill_prototypes.targets.centre"
    for name in ("distill_prototypes.centre", new_state):
        assert current_name("state", name, warn=False) == new_state
    assert main(["list-presets", "clip", "--scale=tiny"]) == 0
    old = capsys.readouterr()
    assert main(["presets", "clip", "--size", "tiny"]) == 0
    new = capsys.readouterr()
    assert (old.out, new.err) == (new.out, "")
    assert old.err.splitlines() == [
        "warning: the command list-presets is now called presets; the old name works until version 0.4.",
        "warning: the option presets --scale is now called presets --size; the old name works until version 0.4.",
    ]
    assert rename_arguments([]) == []
    asked = ["train", "--scale", "list-presets", "--set=optim.passes=3"]
    assert rename_arguments(asked) == asked, "an option of another command, and values"


@pytest.mark.usefixtures("table")
def test_an_older_name_of_the_python_api_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match=r"core\.load is now called open_model"):
        assert core.load is core.open_model  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        core.lode  # type: ignore[attr-defined]  # noqa: B018
