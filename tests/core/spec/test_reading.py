"""The bounded reader: regular files of limited size are read, anything else is a UserError."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from pydantic import BaseModel, ConfigDict, TypeAdapter

from core.spec.errors import UserError
from core.spec.reading import excerpt, open_regular, parse_json, read_bytes, read_json, read_text, validate, validate_as
from tests.mutations import mutated, survives


class OwnError(UserError):
    pass


class Fact(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    step: int
    name: str = ""


def test_a_regular_file_is_read_and_a_missing_one_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"step": 3, "name": "ü"}', encoding="utf-8")
    raw = read_json(tmp_path / "a.json", 1000)
    assert validate(Fact, raw, "a.json") == Fact(step=3, name="ü")
    assert read_text(tmp_path / "a.json", 1000).startswith("{")
    with open_regular(tmp_path / "a.json") as file:
        assert file.read(1) == b"{"
    for missing in (tmp_path / "none", tmp_path / "a.json" / "inside"):
        with pytest.raises(FileNotFoundError):
            read_bytes(missing, 10)


def test_a_pipe_a_folder_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, sort in ((tmp_path / "pipe", "a named pipe"), (tmp_path, "a folder"), (Path("/dev/zero"), "a device")):
        with pytest.raises(OwnError, match=sort) as caught:
            read_bytes(path, 10, error=OwnError)
        assert str(path) in str(caught.value)


def test_a_link_out_of_the_root_is_refused_and_one_inside_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    (tmp_path / "secret").write_text("1")
    (root / "own").write_text("2")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "in").symlink_to("own")
    assert read_json(root / "in", 10, root=root) == 2
    with pytest.raises(UserError, match="is a link out of"):
        read_json(root / "out", 10, root=root)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(UserError, match="larger than 1 MB"):
        read_bytes(tmp_path / "sparse", 1 << 20)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 200_000, "nested more than 64"),
        ("[" * 65 + "]" * 65, "nested more than 64"),
        ("9" * 5000, "beyond 64 bits"),
        (str(1 << 63), "beyond 64 bits"),
        (f'[1, "a", {{"b": [null, {-(1 << 63) - 1}]}}]', "beyond 64 bits"),
        ("1e999", "not finite"),
        ("[NaN]", "not finite"),
        ('{"a":\n nonsense}', "line 2: not JSON"),
    ],
)
def test_unsafe_json_is_a_user_error(text: str, says: str) -> None:
    with pytest.raises(OwnError, match=says) as caught:
        parse_json(text, "x.json", error=OwnError)
    assert "x.json" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_bytes_that_are_not_text_are_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfe\xfa")
    for read in (read_json, read_text):
        with pytest.raises(UserError, match="UTF-8"):
            read(tmp_path / "a", 10)
    assert parse_json("[" * 64 + "]" * 64, "") is not None
    assert parse_json(f"[{(1 << 63) - 1}, {-(1 << 63)}, 1.5, true, null]", "") == [2**63 - 1, -(2**63), 1.5, True, None]


def test_a_wrong_field_is_named_with_its_value() -> None:
    with pytest.raises(OwnError, match=r"^x: step: .*, not many\. Mend it\.$"):
        validate(Fact, {"step": "many"}, "x", error=OwnError, remedy="Mend it.")
    with pytest.raises(OwnError, match=r"^x: step: Field required\.$"):
        validate(Fact, {}, "x", error=OwnError)
    with pytest.raises(UserError, match=r"^x: the content: "):
        validate(Fact, 5, "x")
    with pytest.raises(UserError, match=r"^x: 1: "):
        validate_as(TypeAdapter(list[int]), [1, "x"], "x")


def test_values_in_messages_are_short_and_printable() -> None:
    assert excerpt("a" * 10**7) == "a" * 199 + "…"
    assert excerpt("a\nb\x1b[0m") == "a\ufffdb\ufffd[0m"
    assert excerpt(10**5000) == "a number beyond 64 bits"
    assert len(excerpt(["x" * 10**6] * 3)) == 200


@given(mutated({"step": 1, "name": "a", "values": {"a": 1.0, "b": [1, 2]}}))
def test_any_bytes_are_plain_json_or_a_user_error(content: bytes) -> None:
    survives(lambda: parse_json(content, "x.json"))
