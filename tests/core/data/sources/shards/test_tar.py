"""The members of a tar: as Python's own reader finds them in whole ones, a sentence in damaged and hostile ones."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.data.errors import DataError
from core.data.sources.shards.index import make_index
from core.data.sources.shards.samples import group_members
from core.data.sources.shards.tar import TarMember, header_name, members
from tests.mutations import survives

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def written(entries: list[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=format) as tar:
        for name, data in entries:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def found(content: bytes) -> list[TarMember]:
    return list(members(io.BytesIO(content), "a.tar"))


@example(entries=[("a\n", b"")], format=tarfile.PAX_FORMAT)
@example(entries=[("\x80\n", b"")], format=tarfile.PAX_FORMAT)
@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1, max_size=300),
            st.binary(max_size=1500),
        ),
        max_size=6,
    ),
    st.sampled_from(FORMATS[1:]),
)
def test_members_match_the_standard_library(entries: list[tuple[str, bytes]], format: int) -> None:
    content = written(entries, format)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        expected = [(member.name, member.offset_data, member.size) for member in tar.getmembers()]
    assert [(one.name, one.offset, one.size) for one in found(content)] == expected
    assert [content[one.offset : one.offset + one.size] for one in found(content)] == [data for _, data in entries]


def test_a_name_in_two_parts_and_signed_sums() -> None:
    """What ustar splits at a slash; and sums of old programs that took bytes as signed."""
    name = f"{'d' * 120}/{'f' * 60}.jpg"
    content = bytearray(written([(name, b"x")], tarfile.USTAR_FORMAT))
    assert found(bytes(content))[0].name == name
    assert header_name(bytes(content[:512])) == f"{'f' * 60}.jpg"
    content[0] = 0xE9
    signed = sum(byte - 256 if byte > 127 else byte for byte in content[:148] + content[156:512]) + 256
    content[148:156] = f"{signed:06o}\0 ".encode()
    assert len(found(bytes(content))) == 1


def special(kind: bytes, **metadata: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo("0.jpg")
    member.type = kind
    for name, value in metadata.items():
        setattr(member, name, value)
    return member


@pytest.mark.parametrize(
    ("member", "sort"),
    [
        (special(tarfile.SYMTYPE, linkname="/etc/passwd"), "a link"),
        (special(tarfile.LNKTYPE, linkname="../../other"), "a link"),
        (special(tarfile.CHRTYPE), "a device"),
        (special(tarfile.FIFOTYPE), "a pipe"),
        (special(tarfile.GNUTYPE_SPARSE), "a sparse file"),
        (
            special(tarfile.REGTYPE, pax_headers={"GNU.sparse.major": "1", "GNU.sparse.realsize": "1000000000000"}),
            "a sparse file",
        ),
    ],
)
def test_non_file_members_are_bad_rows(member: tarfile.TarInfo, sort: str) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member)
        text = tarfile.TarInfo("0.txt")
        text.size = 5
        tar.addfile(text, io.BytesIO(b"a dog"))
    (sample,) = group_members(members(io.BytesIO(content.getvalue()), "a.tar"))
    assert sample.problem() == f"the image is {sort}, not a file"


def test_a_name_that_leads_outside_is_only_a_name() -> None:
    content = written([("../../../etc/cron.d/0.jpg", b"x"), ("../../../etc/cron.d/0.txt", b"a dog")])
    (sample,) = group_members(members(io.BytesIO(content), "a.tar"))
    assert sample.problem() == ""
    assert sample.key == "../../../etc/cron.d/0"
    assert header_name(content[:512]) == "0.jpg"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tar: tar[:700], r"a\.tar is truncated in the member at byte 0;"),
        (lambda tar: tar[:1024] + tar[1024:1200], r"truncated in the member at byte 1,024;"),
        (lambda tar: tar[:1024], r"a\.tar ends at byte 1,024 without the empty blocks"),  # between two members
        (lambda tar: tar[:1541], r"ends at byte 1,541 without"),  # in the padding of the last
        (lambda tar: b"", r"ends at byte 0 without"),
        (lambda tar: b"x" + tar[1:], r"damaged at byte 0: no valid tar header"),
        (lambda tar: b"PK\3\4" * 400, r"damaged at byte 0: no valid tar header"),
    ],
)
def test_truncated_and_broken_tars_name_the_byte(change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        found(change(written([("0.jpg", b"x" * 500), ("0.txt", b"a dog")], tarfile.USTAR_FORMAT)))


def test_a_bomb_of_extension_headers_is_refused() -> None:
    member = special(tarfile.XHDTYPE, size=80_000)
    content = member.tobuf(tarfile.USTAR_FORMAT) + b"x" * 80_384
    with pytest.raises(DataError, match=r"a header of 80,000 bytes"):
        found(content)


def huge(size: int) -> bytes:
    return special(tarfile.REGTYPE, size=size).tobuf(tarfile.GNU_FORMAT) + b"x" * 1024


@pytest.mark.parametrize("size", [1 << 35, 1 << 62, 1 << 80])
def test_a_size_beyond_the_file_is_a_user_error(size: int) -> None:
    with pytest.raises(DataError, match="truncated in the member at byte 0"):
        found(huge(size))


SAMPLE = written(
    [
        ("a/0.jpg", b"\xff\xd8" * 300),
        ("a/0.txt", b"a dog"),
        ("é" * 150 + ".png", b"p"),
        ("é" * 150 + ".json", b"{}"),
        ("x" * 200 + ".cls", b"3"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_tars_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(
        data.draw(st.sampled_from([SAMPLE, written([("0.jpg", b"x"), ("0.txt", b"y")], tarfile.GNU_FORMAT)]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        sort = data.draw(st.sampled_from(["change", "cut", "double", "number", "type"]))
        if sort == "change":
            content[start] = data.draw(st.integers(0, 255))
        elif sort == "cut":
            del content[start : start + data.draw(st.integers(1, 2000))]
        elif sort == "double":
            content[start:start] = content[start : start + 512]
        else:  # with a sum that is right, so that what follows is believed
            block = start // 512 * 512
            header = content[block : block + 512]
            if len(header) < 512:
                continue
            if sort == "number":
                header[124:136] = data.draw(
                    st.one_of(
                        st.binary(min_size=12, max_size=12), st.sampled_from([b"77777777777\0", b"\x80" + b"\xff" * 11])
                    )
                )
            else:
                header[156:157] = data.draw(st.sampled_from([b"L", b"K", b"x", b"g", b"S", b"1", b"5", b"?", b"\0"]))
            header[148:156] = b" " * 8
            header[148:156] = f"{sum(header):06o}\0 ".encode()
            content[block : block + 512] = header
        if not content:
            break
    path = tmp_path_factory.getbasetemp() / "damaged.tar"
    path.write_bytes(content)
    survives(lambda: make_index(path))
