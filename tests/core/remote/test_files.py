"""Files that a machine serves: checkpoints in chunks, and scaled images."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from core.remote.files import checkpoints, read_part, small_images
from core.spec.errors import UserError
from core.spec.machines.answers import MAX_CHUNK_BYTES, FileFacts, pack_bytes, unpack_bytes
from core.spec.run.folder import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "one")
    run.create()
    return run


def test_checkpoints_are_listed_with_their_files_and_pointers(run: RunDir) -> None:
    assert checkpoints(run) == []
    for step, files in ((20, ("student.safetensors", "checkpoint.json")), (10, ("checkpoint.json",)), (30, ("a",))):
        folder = run.checkpoints / f"step-{step:08d}"
        (folder / "a folder").mkdir(parents=True)
        for name in (*files, ".nfs000123", "a copy"):
            (folder / name).write_bytes(b"x" * step)
    for which in ("best", "last"):
        (run.checkpoints / which).write_text("step-00000020\n")
    found = checkpoints(run)
    assert [(one.name, one.pointers) for one in found] == [
        ("step-00000010", []), ("step-00000020", ["best", "last"]),
    ]  # fmt: skip
    stamps = [(run.checkpoints / "step-00000020" / name).stat().st_mtime_ns for name in ("checkpoint.json",)]
    assert found[1].files[0] == FileFacts(name="checkpoint.json", size=20, stamp=stamps[0])
    assert [one.name for one in found[1].files] == ["checkpoint.json", "student.safetensors"], (
        "no folders, and no links out of the run"
    )
    (run.checkpoints / "best").unlink()
    (run.checkpoints / "last").write_text("step-00000010")
    assert [one.pointers for one in checkpoints(run)] == [["last"], []]


def test_a_chunk_carries_size_and_digest_of_the_whole_file(run: RunDir) -> None:
    run.events.write_bytes(b"0123456789")
    whole = {"size": 10, "stamp": run.events.stat().st_mtime_ns}
    for offset, length, data in ((0, 4, b"0123"), (8, MAX_CHUNK_BYTES, b"89"), (10, 1, b""), (99, 1, b"")):
        assert read_part(run, "events.jsonl", offset, length) == {"data": pack_bytes(data), **whole}


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 0), (0, MAX_CHUNK_BYTES + 1)])
def test_invalid_chunks_are_refused(run: RunDir, offset: int, length: int) -> None:
    run.events.write_bytes(b"0123456789")
    with pytest.raises(UserError, match=f"cannot read {length} bytes at {offset}"):
        read_part(run, "events.jsonl", offset, length)


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (".", "is not a file of a run"),
        ("../secret", "is not a file of a run"),
        ("checkpoints/../../secret", "is not a file of a run"),
        ("/etc/hostname", "is not a file of a run"),
        ("gone.json", "gone.json is no longer in"),
        ("checkpoints", "a folder"),
        ("link", "is a link out of"),
        ("a\0b", "is not a valid file name"),
    ],
)
def test_files_outside_the_run_are_refused(run: RunDir, file: str, why: str) -> None:
    secret = run.path.parent / "secret"
    secret.write_text("secret")
    (run.path / "link").symlink_to(secret)
    run.checkpoints.mkdir(exist_ok=True)
    with pytest.raises(UserError, match=why):
        read_part(run, file, 0, 10)


def shown(answer: dict[str, object], path: Path) -> Image.Image:
    one = answer[str(path)]
    assert isinstance(one, dict)
    data = unpack_bytes(one["data"])
    assert (one["size"], one["stamp"]) == (len(data), path.stat().st_mtime_ns)
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(("side", "size"), [(100, (100, 50)), (3, (16, 8)), (9999, (512, 256))])
def test_an_image_is_scaled_to_the_requested_size_within_bounds(
    tmp_path: Path, side: int, size: tuple[int, int]
) -> None:
    path = tmp_path / "one.png"
    Image.new("RGBA", (1200, 600), (255, 0, 0, 255)).save(path)
    image = shown(small_images([str(path)], side), path)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", size)


def test_small_images_are_not_enlarged_and_non_images_are_skipped(tmp_path: Path) -> None:
    good, bad = tmp_path / "one.png", tmp_path / "two.png"
    Image.new("L", (20, 10)).save(good)
    bad.write_bytes(b"no image")
    answer = small_images([str(bad), str(tmp_path / "gone.png"), str(good), str(tmp_path)], 100)
    assert list(answer) == [str(good)]
    assert shown(answer, good).size == (20, 10)


def test_images_are_rotated_by_exif(tmp_path: Path) -> None:
    path = tmp_path / "one.jpg"
    image = Image.new("RGB", (400, 200), "blue")
    image.paste("red", (0, 0, 200, 200))  # the left half, which is above once it is turned clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    found = shown(small_images([str(path)], 100), path)
    assert found.size == (50, 100)
    above, below = found.getpixel((25, 10)), found.getpixel((25, 90))
    assert isinstance(above, tuple)
    assert isinstance(below, tuple)
    assert above[0] > 200 > 50 > above[2]
    assert below[2] > 200 > 50 > below[0]


def test_the_number_of_images_per_request_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.remote.files._MAX_IMAGES", 2)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        Image.new("RGB", (4, 4)).save(path)
    assert list(small_images([str(path) for path in paths], 16)) == [str(path) for path in paths[:2]]
