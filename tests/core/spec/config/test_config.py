"""The config: round trips, settings, and messages that name the field, the value and the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.spec.config import (
    ConfigError,
    RunConfig,
    differences,
    field_names,
    get_field,
    override,
    parse_config,
    read_config,
    run,
    split_run,
    with_absolute_paths,
    without_folders,
)
from core.spec.presets import PRESETS, SIZES, preset_config, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_consistent_described_and_round_trips(name: str) -> None:
    for size in SIZES:
        config = preset_config(name, size)
        assert parse_config(config.to_json(), "a file") == config, "it does not contradict itself"
        assert config.preset == name
    preset = PRESETS[name]
    assert preset.title
    assert preset.paper
    assert len(preset.description) > 80


def test_an_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'sdclip'; did you mean sd-clip"):
        preset_config("sdclip")
    with pytest.raises(ConfigError, match="there is no size 'huge'; choose tiny, demo, base"):
        preset_config("clip", "huge")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optim.epoch=3", r"no setting 'optim.epoch'; did you mean optim.epochs"),
        ("optim.epochs", r"has no '='; write --set optim.epochs=3"),
        ("optim.epochs=-1", r"optim.epochs: .* greater than 0, got -1"),
        (
            "teacher.kind=oracle",
            r"teacher.kind: Must be one of .*initial, frozen, or an update rule as .*, got 'oracle'",
        ),
        ("fusion.width=250", r"fusion.width: 250 is not a multiple of the 4 heads; try 248"),
        ("views.clean.crop_min=0.9", None),
        ("optim.learning_rate=NaN", r"optim.learning_rate"),
        ("preset=mixmatch views.local.count=2", r"views\.local\.count: mixmatch needs"),
        ("preset=fixmatch views.student.mix=mixup", r"views\.student\.mix: fixmatch needs views that are not interpol"),
    ],
)
def test_settings_are_applied_or_refused_with_a_message(setting: str, message: str | None) -> None:
    preset, _, setting = setting.rpartition(" ")
    config = preset_config(preset.removeprefix("preset=") or "clip")
    if message is None:
        name, value = setting.split("=")
        assert get_field(override(config, [setting]), name) == json.loads(value)
    else:
        with pytest.raises(ConfigError, match=message):
            override(config, [setting])


@pytest.mark.parametrize("text", ["2024.10", "true", "null"])
def test_text_fields_keep_text_that_looks_like_numbers(text: str) -> None:
    assert override(preset_config("clip"), [f"name={text}"]).name == text


def test_an_unknown_key_in_a_file_suggests_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"optim": {"learning_rat": 1}}')
    with pytest.raises(ConfigError, match=r"config.json.*\n.*learning_rat.*did you mean optim.learning_rate"):
        read_config(path)
    with pytest.raises(ConfigError, match=r"cannot read the config .*gone.json"):
        read_config(tmp_path / "gone.json")


def test_the_nearest_is_searched_once_for_runs_with_the_same_unknown_key(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []
    monkeypatch.setattr(run, "nearest", lambda name, *_, **__: searched.append(name) or [])
    for _ in range(3):
        with pytest.raises(ConfigError, match="there is no such field"):
            parse_config('{"optim": {"key_of_another_version": 1}}', "a file")
    assert searched == ["optim.key_of_another_version"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[1]", "contains list"),
        ('{"version": 9}', "has version 9, but this program reads version 1"),
    ],
)
def test_files_that_are_not_a_config(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(text, "x.json")


def test_relative_paths_are_resolved_against_the_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.csv").write_text("")
    monkeypatch.chdir(tmp_path)
    config = with_absolute_paths(override(preset_config("clip"), ["data.train=train.csv", "data.val=gone.csv"]))
    assert config.data.train == str(tmp_path / "train.csv")
    assert (config.data.val, config.data.test, config.towers.architecture) == ("gone.csv", "", "ViT-B-32")


def test_every_field_can_be_shown_in_a_form() -> None:
    """The form needs a title, a description and a unit."""
    schema = RunConfig.model_json_schema()
    for config in [schema, *schema["$defs"].values()]:
        for name, field in config.get("properties", {}).items():
            assert field.get("title"), name
            if "$ref" not in str(field) and name != "version":
                assert field.get("description"), name
                assert "unit" in field, name


@given(st.sampled_from(field_names()))
def test_setting_a_field_to_its_own_value_changes_nothing(name: str) -> None:
    config = preset_config("sd-clip", "demo")
    assert override(config, [f"{name}={json.dumps(get_field(config, name))}"]) == config


def test_differences_list_only_changed_fields_and_digests_differ() -> None:
    config = preset_config("clip")
    changed = override(config, ["optim.epochs=3", "seed=4"])
    assert differences(config, changed) == {"seed": (0, 4), "optim.epochs": (32.0, 3.0)}
    assert config.digest() == parse_config(config.to_json(), "").digest() != changed.digest()


def test_run_at_step_is_split_into_folder_and_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("run", "a@b"):
        (tmp_path / folder).mkdir()
    assert split_run("run") == (Path("run"), "")
    assert split_run("run@best") == (Path("run"), "best")
    assert split_run("run@") == (Path("run"), "")
    assert split_run("a@b") == (Path("a@b"), "")
    assert split_run("a@b@40") == (Path("a@b"), "40")
    assert split_run("a") is split_run("a@40") is split_run("open_clip:ViT-B-32,openai") is None
    config = override(preset_config("kd", "tiny"), ["teacher.checkpoint=run@40;a@b;run@;no@5"])
    whole = with_absolute_paths(config).teacher.checkpoint.split(";")
    assert whole == [f"{tmp_path}/run@40", f"{tmp_path}/a@b", f"{tmp_path}/run", "no@5"]


def test_a_published_config_names_files_without_their_folders() -> None:
    paths = [
        "data.train", "data.val", "data.test", "towers.pretrained", "towers.architecture",
        "objectives.text_anchors.source", "objectives.image_anchors.source",
    ]  # fmt: skip
    config = override(
        preset_config("clip"),
        [
            *(f"{path}=/home/anna/file" for path in paths),
            "data.retain=general;sketches=/home/anna/sketches.csv",
            "teacher.checkpoint=/home/anna/one@best; /home/anna/two",
            "data.dataset=/home/anna/code.py:Pairs",
            "towers.build=/home/anna/code.py:build",
            "objectives.custom./home/anna/code.py:Loss.weight=1",
        ],
    )
    published = without_folders(config)
    assert "anna" not in published.to_json()
    assert (published.data.retain, published.teacher.checkpoint) == (
        "general=general; sketches=sketches.csv",
        "one@best;two",
    )
    assert list(published.objectives.custom) == ["code.py:Loss"]
