"""Exports that are killed, run at once, or run out of disk: the folder is whole, and the next one works."""

from __future__ import annotations

import json
import os
import platform
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.exporting.export import ExportError, export_model
from tests.core.caption_models import CLIP, save_model

# A process that has loaded torch, and forks the exports: loading it twenty times would take minutes.
KILLED = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
import torch
from safetensors.torch import load_file
from core.exporting.export import export_model
torch.set_num_threads(1)
source, out = sys.argv[1], Path(sys.argv[2])
chance, caught = random.Random(5), []

def die_at(number):
    # the process kills itself before the numbered change of a folder's name or its removal
    left = [number]
    def dying(do):
        def changed(*arguments, **options):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return do(*arguments, **options)
        return changed
    Path.rename, shutil.rmtree = dying(Path.rename), dying(shutil.rmtree)

def whole(folder):
    assert (folder / "README.md").read_text(encoding="utf-8").endswith("```\\n"), sorted(folder.iterdir())
    assert len(load_file(folder / "open_clip_model.safetensors")) > 20

export_model(source, "", out, "open_clip")
for number in range(20):
    child = os.fork()
    if not child:
        if number < 4:
            die_at(number + 1)
        while True:
            export_model(source, "", out, "open_clip", force=True)
    if number >= 4:
        time.sleep(chance.uniform(0.05, 0.5))
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    beside = sorted(path.name for path in out.parent.glob(".out.*"))
    caught.append([out.exists(), len(beside)])
    whole(out if out.exists() else next(out.parent.glob(".out.*.before")))
    export_model(source, "", out, "open_clip", force=True)
    whole(out)
    assert sorted(path.name for path in out.parent.iterdir()) == ["out", "source"]
print(json.dumps(caught))
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_twenty_kills_lose_nothing_and_the_next_export_works(tmp_path: Path) -> None:
    source = save_model(tmp_path / "folder" / "source", CLIP)
    caught = json.loads(run(KILLED, str(source), str(tmp_path / "folder" / "out")))
    assert len(caught) == 20
    assert [False, 2] in caught  # between the two renames: the earlier export waits beside the new one
    assert sum(beside > 0 for _, beside in caught) >= 4  # kills that left something to remove


def export_and_exit(source: Path, out: Path) -> None:
    """In a forked process: with 0, or with 1 where it is refused."""
    code = 2
    try:
        export_model(str(source), "", out, "open_clip")
        code = 0
    except ExportError:
        code = 1
    finally:
        os._exit(code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_of_concurrent_exports_to_one_folder_one_is_complete(tmp_path: Path) -> None:
    source = save_model(tmp_path / "folder" / "source", CLIP)
    out = tmp_path / "folder" / "out"
    children = [os.fork() or export_and_exit(source, out) for _ in range(4)]
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children if child)
    assert codes == [0, 1, 1, 1]
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "open_clip_config.json", "open_clip_model.safetensors",
    ]  # fmt: skip
    assert sorted(path.name for path in out.parent.iterdir()) == ["out", "source"]


def test_a_folder_named_like_the_export_of_an_impossible_process_is_left_alone(tmp_path: Path) -> None:
    source = save_model(tmp_path / "source", CLIP)
    folder = tmp_path / f".out.{platform.node()}-{10**20}.partial"
    folder.mkdir()
    assert export_model(str(source), "", tmp_path / "out", "open_clip").is_dir()
    assert folder.is_dir()


@pytest.mark.skipif(os.name == "nt", reason="Windows limits no sizes of files")
@pytest.mark.parametrize("room", [0, 1000, 100_000])
def test_a_full_disk_names_the_folder_and_leaves_nothing(tmp_path: Path, room: int) -> None:
    source = save_model(tmp_path / "source", CLIP)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))  # answers as a full disk does, in the same place
    try:
        with pytest.raises(ExportError, match=r"cannot write .*/out: .*; free some space and try again\.$"):
            export_model(str(source), "", tmp_path / "out", "open_clip")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
