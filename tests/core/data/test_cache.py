"""The image cache: the same pixels, whatever happens to the process, the file, the disk."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from core.data import cache as cache_module
from core.data.cache import Decoding, ImageCache, open_cache, prune
from core.data.images import decode
from tests.core.data.samples import write_image

DECODING = Decoding(shorter_side=16, max_megapixels=10)
PLENTY = 1 << 30


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Images of many shapes, one of them broken."""
    made = [str(write_image(tmp_path / "images" / f"{i}.png", i, (20 + 3 * i, 30))) for i in range(9)]
    Path(made[4]).write_bytes(b"no image")
    return made


def built(files: list[str]) -> ImageCache:
    cache = open_cache(files, DECODING, PLENTY)
    assert cache is not None
    return cache


def same_as_decoded(cache: ImageCache, files: list[str]) -> bool:
    good = [row for row in range(len(files)) if row not in cache.bad]
    return len(cache) == len(files) and all(
        np.array_equal(cache.image(row), decode(files[row], DECODING.shorter_side, 10)) for row in good
    )


BUILD = """
import os, sys
from core.data.cache import Decoding, open_cache

def progress(done, total):
    if done == int(sys.argv[1]):
        os._exit(9)

assert open_cache(sys.argv[2:], Decoding(16, 10), 1 << 30, progress) is not None
"""


def building(files: list[str], die_after: int = 0) -> subprocess.Popen[bytes]:
    """A process that builds the cache of ``files``, and dies in the middle if so told."""
    return subprocess.Popen([sys.executable, "-c", BUILD, str(die_after), *files])


def left(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*{suffix}"))


def test_the_cache_is_built_once_and_lists_bad_images(files: list[str], own_cache: Path) -> None:
    calls: list[tuple[int, int]] = []
    cache = open_cache(files, DECODING, PLENTY, lambda done, total: calls.append((done, total)))
    assert calls == [(i, 9) for i in range(1, 10)]
    assert cache is not None
    assert same_as_decoded(cache, files)
    assert list(cache.bad) == [4]
    assert "not an image" in cache.bad[4]
    assert left(own_cache, ".tmp") == []
    again = open_cache(files, DECODING, PLENTY, lambda done, total: calls.append((done, total)))
    assert len(calls) == 9
    assert again is not None
    assert same_as_decoded(again, files)


def test_a_changed_image_or_size_is_decoded_again(files: list[str], own_cache: Path) -> None:
    first = built(files).path
    status = Path(files[0]).stat()
    os.utime(files[0], ns=(status.st_atime_ns, status.st_mtime_ns + 1))  # a change that keeps the size
    assert built(files).path != first
    write_image(Path(files[4]), 99, (40, 40))
    fresh = built(files)
    assert fresh.bad == {}
    assert same_as_decoded(fresh, files)
    other = open_cache(files, Decoding(8, 10), PLENTY)
    assert other is not None
    assert other.image(0).shape[0] == 12
    assert len(left(own_cache, ".images")) == 4


def test_the_cache_can_be_pickled_for_a_loader_process(files: list[str]) -> None:
    cache = built(files)
    sent = pickle.dumps(cache)
    assert len(sent) < 1000
    assert same_as_decoded(pickle.loads(sent), files)  # our own object, written a line above


@pytest.mark.parametrize("damage", ["cut", "emptied", "other", "index"])
def test_a_damaged_file_is_rebuilt(files: list[str], own_cache: Path, damage: str) -> None:
    path = built(files).path
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "emptied": b"",
            "other": b"x" * len(content),
            "index": content[:-60] + bytes([content[-60] ^ 1]) + content[-59:],
        }[damage]
    )
    with pytest.raises(ValueError, match=str(path.name)):
        ImageCache(path)
    assert same_as_decoded(built(files), files)


def test_an_exception_in_progress_cancels_and_leaves_nothing(files: list[str], own_cache: Path) -> None:
    class StopAskedError(OSError):
        pass

    def progress(done: int, total: int) -> None:
        if done == 3:
            raise StopAskedError

    with pytest.raises(StopAskedError):
        open_cache(files, DECODING, PLENTY, progress)
    assert {path.suffix for path in own_cache.iterdir()} <= {".lock"}


def test_a_killed_build_leaves_no_damage(files: list[str], own_cache: Path) -> None:
    assert building(files, die_after=5).wait() == 9
    assert len(left(own_cache, ".tmp")) == 1
    assert left(own_cache, ".images") == []
    assert same_as_decoded(built(files), files)
    os.utime(left(own_cache, ".tmp")[0], (0, 0))
    prune(own_cache)
    assert left(own_cache, ".tmp") == []


def test_two_processes_may_build_at_once(files: list[str], own_cache: Path) -> None:
    builds = [building(files), building(files)]
    assert [build.wait() for build in builds] == [0, 0]
    assert same_as_decoded(built(files), files)
    assert len(left(own_cache, ".images")) == 1
    assert left(own_cache, ".tmp") == []


@pytest.mark.parametrize(
    ("obstacle", "said"),
    [
        ("budget", "data.cache_mib"),
        ("full disk", "No space left"),
        ("nearly full disk", "but only 0 are free"),
        ("no folder", "cannot be cached in "),
    ],
)
def test_without_room_images_are_streamed(
    files: list[str], own_cache: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str, said: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if obstacle == "full disk":
        monkeypatch.setattr(cache_module.os, "fsync", full)
    elif obstacle == "nearly full disk":
        monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    elif obstacle == "no folder":
        own_cache.write_text("a file where the folder should be")
    told: list[str] = []
    assert open_cache(files, DECODING, 1000 if obstacle == "budget" else PLENTY, log=told.append) is None
    assert said in told[0]
    assert left(own_cache, ".images") == left(own_cache, ".tmp") == []


def test_the_least_recently_used_caches_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "middle", "old"]):
        path = tmp_path / f"{name}.images"
        path.write_bytes(b"x" * 100)
        os.utime(path, (time.time() - 1000 * age, time.time() - 1000 * age))
    (tmp_path / "unrelated.txt").write_bytes(b"x" * 1000)
    prune(tmp_path, limit=250)
    assert {path.stem for path in tmp_path.iterdir()} == {"new", "middle", "unrelated"}
    prune(tmp_path, keep=tmp_path / "middle.images", limit=50)
    assert {path.stem for path in tmp_path.iterdir()} == {"middle", "unrelated"}


def test_a_cache_of_other_files_is_not_used(files: list[str]) -> None:
    """Whatever its name says: one of fewer images would show each caption another image."""
    path, fewer = built(files).path, built(files[:5]).path
    path.write_bytes(fewer.read_bytes())
    assert same_as_decoded(built(files), files)


def test_validation_images_do_not_evict_training_images(
    files: list[str], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = built(files[1:]).path  # of another run: nothing has it open
    monkeypatch.setattr(cache_module, "MAX_TOTAL_BYTES", 1)
    train = built(files)
    assert earlier in left(own_cache, ".images"), "within the run's budget, other caches stay"
    val = open_cache(files[:3], DECODING, val_budget := 4500)
    assert val is not None
    assert train.path.stat().st_size > val_budget
    assert set(left(own_cache, ".images")) == {train.path, val.path}


def test_a_build_evicts_what_it_needs(files: list[str], own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(files)  # of another run: nothing has it open
    (own_cache / "a-build-that-works.tmp").write_bytes(b"x")
    monkeypatch.setattr(cache_module, "MAX_TOTAL_BYTES", 1)
    newest = open_cache(files[:3], DECODING, 4500)
    assert newest is not None
    assert left(own_cache, ".images") == [newest.path]
    assert left(own_cache, ".tmp"), "it is not a day old"


def test_the_size_of_many_images_is_estimated_from_a_sample(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SIZE_SAMPLE", 3)
    same = [files[0]] * 50
    one = decode(files[0], 16, 10).nbytes
    assert open_cache(same, DECODING, 50 * one - 1) is None
    assert open_cache(same, DECODING, 50 * one) is not None


def test_without_building_only_existing_caches_are_used(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_cache(files, DECODING, 1, build=False) is None
    built(files)
    monkeypatch.setattr(cache_module, "decoded_size", lambda *_: pytest.fail("an image was opened"))
    again = open_cache(files, DECODING, 1, build=False)
    assert again is not None
    assert len(again) == len(files)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_a_system_error_is_not_cached_as_a_broken_image(
    files: list[str], own_cache: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    open_file = os.open

    def refuse(path: str | Path, *given: int) -> int:
        if str(path) in files[2:4]:
            raise OSError(number, os.strerror(number), str(path))
        return open_file(path, *given)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        first = built(files)
        assert sorted(first.bad) == [2, 3, 4]
        assert first.retryable == {2, 3}
        again = built(files)
        assert sorted(again.bad) == [2, 3, 4]
        assert again.path.stat().st_ino == first.path.stat().st_ino, "nothing can be read that could not: it is kept"
    healed = built(files)
    assert sorted(healed.bad) == [4], "only what the bytes say"
    assert same_as_decoded(healed, files)
