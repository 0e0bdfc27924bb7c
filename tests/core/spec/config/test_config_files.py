"""Configs, settings and prompts from other people are read, or refused quickly with a short message."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.report import read_report
from core.metrics.classification.prompts import load_templates
from core.metrics.inputs import EvaluationError
from core.model.errors import ModelError
from core.model.towers.pretrained import read_weights
from core.model.towers.towers import resolve_architecture
from core.spec.config import ConfigError, field_names, override, parse_config, read_config, with_absolute_paths
from core.spec.presets import preset_config
from tests.mutations import feed, few_or_many, mutated, survives

CLIP = preset_config("clip", "tiny")
REPORT = {
    "v": 1,
    "task": "knn",
    "subject": {"model": "m", "dataset": "d", "pretrained": "", "weights": "student", "language": "en"},
    "samples": 2,
    "metrics": {"acc1": 0.5, "acc5": None},
    "intervals": {"acc1": {"low": 0.1, "high": 0.9}},
    "per_query": {"acc1": {"values": [0.0, 1.0], "groups": [0, 1], "strata": None}},
    "notes": ["a note"],
    "details": {"k": 20},
}
PROMPTS = ["a photo of a {}.", "# a remark", "ein Foto von {c}"]
READERS: dict[str, tuple[object, Callable[[Path], object]]] = {
    "config": (json.loads(CLIP.to_json()), read_config),
    "report": (REPORT, read_report),
    "prompts": (PROMPTS, load_templates),
}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000 + "]" * 200_000,
        '{"a":' * 200_000 + "1" + "}" * 200_000,
        '{"seed": ' + "9" * 5000 + "}",
        '{"seed": NaN}',
        '{"name": "' + "n" * 900_000 + '"}',
        '{"towers": {"architecture": "' + "a" * 900_000 + '"}}',
        '{"data": {"train": "a\\u0000b"}}',
        '{"data": {"train": "\\udcff"}}',
        '{"version": "' + "1" * 900_000 + '"}',
        json.dumps({f"unknown key {place}": 1 for place in range(20_000)}),
        json.dumps({"x" * 100_000: 1}),
        json.dumps({"optim": {f"epoch {place}": 1 for place in range(20_000)}}),
    ],
)
def test_a_hostile_config_raises_a_short_user_error_quickly(text: str) -> None:
    survives(lambda: parse_config(text, "x.json"))
    with pytest.raises(ConfigError) as refused:
        parse_config(text, "x.json")
    assert len(str(refused.value)) < 3000


def test_only_the_first_of_many_wrong_fields_are_listed() -> None:
    with pytest.raises(ConfigError, match=r"and 19980 more") as refused:
        parse_config(json.dumps({f"unknown key {place}": 1 for place in range(20_000)}), "x.json")
    assert str(refused.value).count("\n") == 21


@pytest.mark.parametrize("read", [read_config, read_report, load_templates])
def test_pipes_devices_and_large_files_are_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(3 << 30)
    for name, says in (("pipe", "named pipe"), ("zero", "a device"), ("large", "larger than")):
        with pytest.raises((ConfigError, EvaluationError), match=says):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "setting",
    [
        "data.train=" + "a" * 200_000,
        "seed=" + "9" * 5000,
        "name=" + "[" * 100_000,
        "optim.epochs=" + "[" * 50_000 + "]" * 50_000,
        "x" * 100_000,
        "x" * 100_000 + "=1",
        "data.train=\udcff",
        "teacher.checkpoint=" + ";" * 5000,
    ],
)
def test_a_hostile_setting_is_accepted_or_raises_a_short_user_error(setting: str) -> None:
    said: list[str] = []

    def use() -> None:
        try:
            with_absolute_paths(override(CLIP, [setting]))
        except ConfigError as refused:
            said.append(str(refused))

    survives(use)
    assert all(len(text) < 2000 for text in said)


@given(
    st.sampled_from([*field_names(), "", "optim", "no.such"]),
    st.one_of(
        st.text(max_size=40), st.floats().map(str), st.integers().map(str), st.sampled_from(["[[]]", "{}", "null"])
    ),
)
def test_any_override_is_accepted_or_raises_a_user_error(name: str, value: str) -> None:
    survives(lambda: with_absolute_paths(override(CLIP, [f"{name}={value}"])).to_json().encode())


@few_or_many
@pytest.mark.parametrize("name", list(READERS))
def test_any_bytes_are_read_or_refused_as_a_config(name: str, tmp_path: Path, examples: int) -> None:
    sample, read = READERS[name]
    path = tmp_path / "file"

    def use(content: bytes) -> None:
        path.write_bytes(content.replace(b'"', b"").replace(b",", b"") if name == "prompts" else content)
        survives(lambda: read(path))

    feed(use, mutated(sample), examples)


def test_templates_are_bounded_in_number_and_length(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(f"a photo {place} of {{}}" for place in range(1001)))
    with pytest.raises(EvaluationError, match="1001 prompt templates; use at most 1000"):
        load_templates(path)
    path.write_text("a" * 2000 + "{}")
    with pytest.raises(EvaluationError, match="has 2002 characters"):
        load_templates(path)


def test_an_architecture_and_weights_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        resolve_architecture("a" * 10_000_000)
    assert len(str(refused.value)) < 1000
    passwords = tmp_path / "passwd"
    passwords.write_text("root:x:0:0:root:/root:/bin/bash\n")
    with pytest.raises(ModelError, match="cannot read the weights"):
        read_weights(passwords)
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 200_000 + "]" * 200_000)
    with pytest.raises(ModelError, match="nested more than"):
        resolve_architecture(str(deep))
