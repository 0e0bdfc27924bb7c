"""Shards as a source: their rows, their index, and what is wrong with them."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.errors import DataError, ImageError
from core.data.images import decode
from core.data.sources.opening import open_source
from core.data.sources.shards import collection
from core.data.sources.shards.collection import Shards, read_shards
from core.data.sources.shards.index import (
    make_index,
    open_index,
    path_beside,
    path_in_cache,
    read_metadata,
    write_index,
)
from core.data.sources.shards.samples import captions_in, group_members, labels_in
from core.data.sources.shards.tar import TarMember
from core.spec.config import ConfigError, override
from core.spec.presets import preset_config
from core.spec.shards import absolute_pattern, expand_pattern, is_member, is_shards, split_member
from tests.core.data.sources.shards.tars import image, row, write_shard, write_shards
from tests.mutations import survives

# Names


def test_braces_wildcards_and_lists_name_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_pattern("a/{0..3}.tar::/b.tar") == f"{tmp_path}/a/{{0..3}}.tar::/b.tar"
    for name in ("a-000.tar", "a-001.tar", "b.tar", "c.png"):
        (tmp_path / name).touch()
    base = str(tmp_path)
    assert expand_pattern(f"{base}/a-{{000..001}}.tar") == [f"{base}/a-000.tar", f"{base}/a-001.tar"]
    assert expand_pattern(f"{base}/{{b,a-{{000..001}}}}.tar") == [
        f"{base}/b.tar",
        f"{base}/a-000.tar",
        f"{base}/a-001.tar",
    ]
    assert expand_pattern(f"{base}/*.tar") == [f"{base}/{name}" for name in ("a-000.tar", "a-001.tar", "b.tar")]
    assert expand_pattern(f"{base}/b.tar::{base}/a-000.tar") == [f"{base}/b.tar", f"{base}/a-000.tar"]
    for braces, numbers in (("9..11", (9, 10, 11)), ("8..010", ("008", "009", "010")), ("02..0", ("02", "01", "00"))):
        assert expand_pattern(f"{base}/x-{{{braces}}}.tar") == [f"{base}/x-{number}.tar" for number in numbers]
    assert not is_shards(base)  # it is a folder of images
    (tmp_path / "c.png").rename(tmp_path / "c.csv")
    assert is_shards(base)
    assert expand_pattern(base) == expand_pattern(f"{base}/*.tar")
    for text, sharded in (
        ("a.tar", True),
        ("x/{0..3}.tar::y.tar", True),
        ("a.csv", False),
        ("", False),
        ("a.tar::b.csv", False),
    ):
        assert is_shards(text) is sharded


@pytest.mark.parametrize("pattern", ["/a/{0..99999999}.tar", "{0..999}{0..999}{0..9}.tar", "{,}" * 40 + ".tar"])
def test_a_pattern_with_too_many_shards_is_refused_at_once(pattern: str) -> None:
    def read() -> None:
        with pytest.raises(DataError, match=r"more than 1,048,576 shards"):
            expand_pattern(pattern, DataError)
        with pytest.raises(ConfigError, match=r"data\.train: .* contains more than"):
            override(preset_config("clip", "tiny"), [f"data.train={pattern}"])

    survives(read)


def test_mixing_shards_with_other_sources_is_reported_at_its_field() -> None:
    with pytest.raises(ConfigError, match=r"data\.val: :: separates shards \(\.tar\)"):
        override(preset_config("clip", "tiny"), ["data.val=/a/{0..3}.tar::/b.csv"])


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("{},.01*?[]:/a~\\"), max_size=30))
def test_any_pattern_is_expanded_or_refused(text: str) -> None:
    survives(lambda: (is_shards(text), split_member(text), open_source("/nowhere/" + text + ".tar")))


# Rows


def test_rows_have_their_captions_and_labels_by_convention(tmp_path: Path) -> None:
    path = write_shard(
        tmp_path / "a.tar",
        {
            "plain": row(0),
            "folder.with.dots/one": row(
                1, json={"caption": "not this", "kind": "cat", "width": 24, "nested": {"a": 1}}
            ),
            "many": row(2, json={"captions": ["first", "second", "first"], "kind": "dog"}),
            "listed": {"png": image(3), "json": b'{"caption": "of the json"}'},
            "class": {"png": image(4), "cls": b"7"},
            "upper": {"JPG": image(5, "JPEG"), "txt": b"\xef\xbb\xbf  two\n lines ", "npy": b"unused"},
        },
    )
    source = open_source(path)
    assert [one.captions for one in source.rows] == [
        ("image 0 caption",), ("image 1 caption",), ("first", "second"), ("of the json",), ("7",), ("two lines",)
    ]  # fmt: skip
    assert [dict(one.labels) for one in source.rows[:3]] == [{}, {"kind": "cat", "width": "24"}, {"kind": "dog"}]
    assert source.rows[4].labels == {"class": "7"}
    assert source.label_names == ("kind", "width", "class")
    assert [Path(one.file).name for one in source.rows][:2] == ["plain.png", "one.png"]
    assert np.array_equal(decode(source.rows[3].file, None, 10), decode(image(3), None, 10))
    assert all(is_member(one.file) for one in source.rows)


def test_img2dataset_download_records_are_not_labels() -> None:
    record = {
        "url": "http://a/b.jpg", "key": "000000000", "status": "success", "error_message": None, "width": 256,
        "height": 256, "original_width": 800, "original_height": 600, "exif": "{}", "sha256": "ab", "md5": "cd",
    }  # fmt: skip
    assert labels_in({**record, "caption": "a cat", "license": "cc0", "NSFW": "UNLIKELY"}, b"") == {
        "license": "cc0", "NSFW": "UNLIKELY",
    }  # fmt: skip
    assert labels_in({"width": 256, "key": "c", "kind": "cat"}, b"") == {"width": "256", "key": "c", "kind": "cat"}


def test_a_repeated_key_is_two_samples() -> None:
    names = ("a.png", "a.txt", "a.png", "a.txt", "b.png")
    found = list(group_members(TarMember(name, offset, 9, "") for offset, name in enumerate(names)))
    assert [(one.key, {kind: member.offset for kind, member in one.parts.items()}) for one in found] == [
        ("a", {"image": 0, "text": 1}), ("a", {"image": 2, "text": 3}), ("b", {"image": 4}),
    ]  # fmt: skip


def test_the_class_replaces_a_blank_caption() -> None:
    assert captions_in(b" \n", {}, b"red_panda\n") == ("red panda",)
    assert captions_in(b"", {"captions": [" ", ""]}, b"dog") == ("dog",)
    assert captions_in(b"a cat", {}, b"dog") == ("a cat",)


def test_broken_members_are_counted_and_listed(tmp_path: Path) -> None:
    rows = {"blank": {"png": image(2), "txt": b" \n"}, **{f"{i}": row(i, json={"kind": "cat"}) for i in range(20)}}
    rows["no-caption"] = {"png": image(1)}
    rows["no-image"] = {"txt": b"a dog"}
    rows["empty"] = {"png": b"", "txt": b"a dog"}
    rows["json"] = {"png": image(2), "json": b"["}
    rows["bytes"] = {"png": image(2), "txt": b"\xff\xfe"}
    source = open_source(write_shard(tmp_path / "a.tar", rows))
    assert len(source.rows) == 20
    reasons = {re.sub(r"\.png$", "", one.location.rpartition("/")[2]): one.reason for one in source.bad}
    assert reasons["no-caption"] == "no caption (.txt, .json or .cls)"
    assert reasons["no-image"] == "no image"
    assert reasons["empty"] == "the image is empty"
    assert reasons["blank"].startswith("no caption")
    assert reasons["json"].startswith("the .json, line 1: not JSON")
    assert reasons["bytes"] == ".txt is not UTF-8 text"
    assert Shards.open(str(tmp_path / "a.tar")).label_names() == ("kind",), "although the first row is unreadable"


def test_rows_are_numbered_across_shards(tmp_path: Path) -> None:
    pattern = write_shards(tmp_path, [3, 1, 4])
    shards = Shards.open(pattern)
    assert len(shards) == 8
    assert [shards.texts(i).captions[0].split()[1] for i in range(8)] == [str(i) for i in range(8)]
    assert [shards.locate(i) for i in (0, 3, 4, 7)] == [(0, 0), (1, 0), (2, 0), (2, 3)]
    sent = pickle.dumps(shards)  # as a loader process gets it: the tables of open shards stay behind
    assert pickle.loads(sent).image(5) == image(5)
    assert all(shard.loaded_table is None for shard in pickle.loads(sent).shards)


def test_few_files_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "MAX_OPEN_SHARDS", 2)
    shards = Shards.open(write_shards(tmp_path, [1] * 6))
    before = psutil.Process().num_fds()
    assert [shards.image(i) for i in (0, 5, 1, 4, 2, 3, 0)] == [image(i) for i in (0, 5, 1, 4, 2, 3, 0)]
    assert psutil.Process().num_fds() <= before + 4  # a file and a table each
    assert sum(shard.loaded_table is not None for shard in shards.shards) <= 2


# The index


def test_the_index_is_written_once_and_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = write_shards(tmp_path / "data", [3, 2])
    first = Shards.open(pattern)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "00000.tar", "00000.tar.index", "00001.tar", "00001.tar.index"
    ]  # fmt: skip
    monkeypatch.setattr("core.data.sources.shards.index.make_index", lambda shard: pytest.fail("read again"))
    again = Shards.open(pattern)
    assert [again.image(i) for i in range(5)] == [first.image(i) for i in range(5)]


def test_the_index_of_a_read_only_folder_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_shard(tmp_path / "a.tar", {"0": row(0)})
    real = write_index

    def refuse(to: Path, *rest: Any) -> None:
        if to.parent == tmp_path:
            raise PermissionError(13, "Permission denied", str(to))
        real(to, *rest)

    monkeypatch.setattr("core.data.sources.shards.index.write_index", refuse)
    assert open_index(path).file == path_in_cache(path)
    assert not path_beside(path).exists()
    assert open_index(path).table["image_size"].tolist() == [len(image(0))]


def test_a_copy_with_another_time_is_the_same_shard(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", {"0": row(0)})
    open_index(path)
    os.utime(path, (1, 1))
    assert open_index(path).metadata.time == 1_000_000_000
    assert read_metadata(path_beside(path)).time == 1_000_000_000


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_damaged_index_is_rebuilt_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged-index"
    path = folder / "a.tar"
    if not path.exists():
        write_shard(path, {str(i): row(i) for i in range(3)})
    index = make_index(path)
    write_index(path_beside(path), index.metadata, index.table)
    content = bytearray(path_beside(path).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            del content[at : at + data.draw(st.integers(1, 100))]
        if not content:
            break
    path_beside(path).write_bytes(content)

    def read() -> None:
        shards = Shards.open(str(path))
        for number in range(len(shards)):
            try:
                shards.image(number), shards.texts(number), shards.path(number)
            except ImageError:
                continue

    survives(read)


@pytest.mark.parametrize("metadata", [{"bad": 2**20 + 1}, {"rows": 2**62}])
def test_an_index_larger_than_its_shard_allows_is_rebuilt(tmp_path: Path, metadata: dict[str, int]) -> None:
    path = write_shard(tmp_path / "a.tar", {str(i): row(i) for i in range(3)})
    index = make_index(path)
    write_index(path_beside(path), index.metadata.model_copy(update=metadata), index.table)
    source = read_shards(str(path))
    assert (len(source.rows), source.bad) == (3, [])
    assert read_metadata(path_beside(path)) == index.metadata


@pytest.mark.parametrize(
    ("part", "offset", "size"), [("image", 2**64 - 1, 2**32 - 1), ("image", 2**63, 1), ("text", 10_000, 100_000)]
)
def test_an_index_with_offsets_beyond_its_shard_gives_bad_rows(
    tmp_path: Path, part: str, offset: int, size: int
) -> None:
    path = write_shard(tmp_path / "a.tar", {str(i): row(i) for i in range(3)})
    index = make_index(path)
    index.table[part][1], index.table[f"{part}_size"][1] = offset, size
    write_index(path_beside(path), index.metadata, index.table)
    shards, source = Shards.open(str(path)), read_shards(str(path))
    with pytest.raises(ImageError, match=r"the index of a\.tar is damaged; remove the index"):
        shards.image(1) if part == "image" else shards.texts(1)
    assert len(source.rows) + len(source.bad) == 3
    assert shards.image(2)


# What is wrong with shards


def test_a_shard_that_was_changed_or_truncated_is_named(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", {str(i): row(i) for i in range(3)})
    open_index(path)
    write_shard(path, {str(i): row(i) for i in range(4)})
    with pytest.raises(DataError, match=r"a\.tar has changed since it was indexed: it had 3 rows and .*a\.tar\.index"):
        Shards.open(str(path))
    path_beside(path).unlink()
    shards = Shards.open(str(path))
    assert len(shards) == 4
    with path.open("r+b") as file:
        file.truncate(4000)
    with pytest.raises(ImageError, match=r"a\.tar was truncated"):
        shards.image(2)
    path_beside(path).unlink()
    with pytest.raises(DataError, match=r"a\.tar is truncated in the member at byte"):
        Shards.open(str(path))


def test_a_missing_or_duplicated_shard_is_named(tmp_path: Path) -> None:
    pattern = write_shards(tmp_path, [2])
    with pytest.raises(DataError, match=r"00001\.tar does not exist; copy it again, or change the pattern"):
        Shards.open(f"{tmp_path}/{{00000..00004}}.tar")
    with pytest.raises(DataError, match=r"No shard matches .*/x\*\.tar"):
        Shards.open(f"{tmp_path}/x*.tar")
    with pytest.raises(DataError, match=r"00000\.tar occurs twice"):
        Shards.open(f"{pattern}::{tmp_path}/00000.tar")
    (tmp_path / "copy.tar").write_bytes((tmp_path / "00000.tar").read_bytes())
    with pytest.raises(DataError, match=r"00000\.tar and .*copy\.tar have the same members"):
        Shards.open(f"{tmp_path}/*.tar")


@pytest.mark.parametrize("sort", ["folder", "pipe", "empty", "text"])
def test_files_that_are_no_tar(tmp_path: Path, sort: str) -> None:
    path = tmp_path / "a.tar"
    if sort == "folder":
        path.mkdir()
    elif sort == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"" if sort == "empty" else b"filepath,title\n" * 100)
    with pytest.raises(DataError, match=r"a\.tar|\*\.tar"):
        Shards.open(str(path))
