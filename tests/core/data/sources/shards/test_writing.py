"""Shards that are written: the same rows again, and what open_clip and WebDataset make of them and we of theirs."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from core.__main__ import main
from core.data import preprocessing
from core.data.dataset import open_dataset
from core.data.derived.noisy import write_noisy
from core.data.derived.subset import save_subset
from core.data.errors import DataError
from core.data.images import decode
from core.data.shard_pairs import open_shards
from core.data.sources.opening import open_source
from core.data.sources.shards.writing import write_shards
from core.spec.config import DataConfig
from tests.core.data.samples import tokenize
from tests.core.images import write_pairs

PEERS = ("webdataset", "braceexpand", "pandas", "open_clip_train")
needs_peers = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, PEERS)), reason="open_clip's loader needs webdataset, braceexpand and pandas"
)


def test_rows_round_trip(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    train_csv, _ = write_pairs(pairs)
    before = open_source(train_csv)
    written = write_shards(before, tmp_path / "out", lambda done, total: None, rows=10)
    assert (written.rows, len(written.shards)) == (36, 4)
    after = open_source(str(tmp_path / "out"))
    assert [row.captions for row in after.rows] == [row.captions for row in before.rows]
    sets = [open_dataset(path, DataConfig(cache_mib=0), 32, tokenize) for path in (train_csv, tmp_path / "out")]
    assert all(torch.equal(sets[0].image(i), sets[1].image(i)) for i in range(36))
    again = write_shards(after, tmp_path / "again", lambda done, total: None, rows=10)  # from shards too
    assert [path.read_bytes() for path in again.shards] == [path.read_bytes() for path in written.shards]


def test_several_captions_labels_and_other_formats(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.bmp")
    Image.new("RGB", (30, 20), "red").save(tmp_path / "b.jpg")
    (tmp_path / "c.png").write_bytes(b"broken")
    (tmp_path / "a.csv").write_text(
        "filepath,title,kind\na.bmp,one,x\na.bmp,two,x\nb.jpg,three,y\nc.png,four,y\n", encoding="utf-8"
    )
    written = write_shards(open_source(tmp_path / "a.csv"), tmp_path / "out", lambda *_: None, max_bad_share=0.5)
    assert [bad.reason.partition(";")[0] for bad in written.bad] == ["it is not an image in a supported format"]
    with tarfile.open(written.shards[0]) as tar:
        names = tar.getnames()
    assert names == [f"00000000{n}" for n in ("0.png", "0.txt", "0.json", "1.jpg", "1.txt", "1.json")]
    rows = open_source(str(tmp_path / "out")).rows
    assert [(row.captions, dict(row.labels)) for row in rows] == [
        (("one", "two"), {"kind": "x"}),
        (("three",), {"kind": "y"}),
    ]
    with pytest.raises(DataError, match=r"1 of the 3 rows"):
        write_shards(open_source(tmp_path / "a.csv"), tmp_path / "other", lambda *_: None)


def test_a_shard_without_readable_images_is_skipped(tmp_path: Path) -> None:
    for name in "ac":
        Image.new("RGB", (30, 20), "red").save(tmp_path / f"{name}.png")
    for name in "bd":
        (tmp_path / f"{name}.png").write_bytes(b"broken")
    (tmp_path / "a.csv").write_text("filepath,title\n" + "".join(f"{name}.png,{name}\n" for name in "abcd"))
    out = tmp_path / "out"
    written = write_shards(open_source(tmp_path / "a.csv"), out, lambda *_: None, rows=1, max_bad_share=0.5)
    names = ["00000.tar", "00001.tar"]
    assert [path.name for path in written.shards] == sorted(path.name for path in out.glob("*.tar")) == names
    assert json.loads((out / "sizes.json").read_text()) == dict.fromkeys(names, 1)
    assert [row.captions for row in open_source(str(out)).rows] == [("a",), ("c",)]


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_csv, _ = write_pairs(tmp_path / "pairs")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert main(["shard", str(train_csv), str(tmp_path / "out")]) == 1
    assert "is not an empty folder" in capsys.readouterr().err
    assert main(["shard", str(train_csv), str(tmp_path / "new"), "--rows", "0"]) == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_no_half_written_folder(
    tmp_path: Path, exists: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_csv, _ = write_pairs(tmp_path / "pairs")
    out = tmp_path / "out"
    if exists:
        out.mkdir()
    made = 0

    def fill(tar: tarfile.TarFile, *given: Any, **named: Any) -> None:
        nonlocal made
        made += 1
        if made > 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        add_file(tar, *given, **named)

    add_file = tarfile.TarFile.addfile
    with monkeypatch.context() as patched:
        patched.setattr(tarfile.TarFile, "addfile", fill)
        assert main(["shard", str(train_csv), str(out), "--rows", "10"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == (
        f"error: cannot write {out}: No space left on device; nothing is left of it; free some space and try again."
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pairs"][not exists :]
    assert not exists or not any(out.iterdir())
    assert main(["shard", str(train_csv), str(out), "--rows", "10"]) == 0
    assert len(open_source(str(out)).rows) == len(open_source(train_csv).rows)
    assert (out / "sizes.json").is_file()


@pytest.mark.parametrize("place", ["in/out", "elsewhere"])
def test_manifests_made_from_shards_name_the_images_in_them(tmp_path: Path, place: str) -> None:
    """With wrong captions mixed in, beside the shards or elsewhere; and without the doubtful ones."""
    train_csv, _ = write_pairs(tmp_path / "pairs")
    write_shards(open_source(train_csv), tmp_path / "in" / "out", lambda *_: None)
    pattern = str(tmp_path / "in" / "out")
    noisy, kept = (tmp_path / place / name for name in ("noisy.csv", "kept.csv"))
    rows, wrong = write_noisy(pattern, 0.25, 0, noisy, kept)
    assert (rows, wrong) == (36, 9)
    before, after = open_source(pattern).rows, open_source(noisy).rows
    assert len(after) == 36
    assert sum(a.captions != b.captions for a, b in zip(before, after, strict=True)) == 9
    assert all(decode(row.file, None, 10).shape == (40, 40, 3) for row in after)
    saved = save_subset(pattern, tmp_path / "in" / "cleaned.csv", lambda *_: None, [before[0].file])
    assert saved.images == 35
    assert [row.file for row in open_source(tmp_path / "in" / "cleaned.csv").rows] == [row.file for row in before[1:]]


# What others read and write

_READ = """
import argparse, functools, json, sys
from open_clip_train import data as loading
from torchvision.transforms.functional import pil_to_tensor
# open_clip was written for a webdataset before 1.0, which put nothing between two tars.
loading.tar_file_expander = functools.partial(loading.tar_file_expander, eof_value=None)
arguments = argparse.Namespace(
    train_data=sys.argv[1], val_data=None, train_num_samples=None, train_data_upsampling_factors=None,
    dataset_resampled=False, seed=0, batch_size=6, workers=0, world_size=1, distributed=False,
)
transform = lambda image: pil_to_tensor(image.convert("RGB"))
data = loading.get_wds_dataset(arguments, transform, True, tokenizer=lambda text: [text])
found = []
for images, texts in data.dataloader:
    found += [[text, int(image.long().sum())] for image, text in zip(images, texts)]
print(json.dumps({"samples": data.dataloader.num_samples, "found": found}))
"""


@needs_peers
def test_open_clip_reads_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: webdataset warns where it is imported."""
    train_csv, _ = write_pairs(tmp_path / "pairs")
    assert main(["shard", str(train_csv), str(tmp_path / "out"), "--rows", "10", "--shuffle", "3"]) == 0
    pattern = f"{tmp_path}/out/{{00000..00003}}.tar"
    command = [sys.executable, "-W", "ignore", "-c", _READ, pattern]
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # its pandas is wanted here
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["samples"] == 36  # by sizes.json
    monkeypatch.setattr(preprocessing, "OVERSAMPLE", 1.0)
    ours = open_dataset(pattern, DataConfig(cache_mib=0), 40, tokenize)  # 40: as they are
    expected = {(ours.captions_of(i)[0], int(ours.image(i).long().sum())) for i in range(len(ours))}
    assert {(text, total) for text, total in told["found"]} == expected


_WRITE = """
import sys, io
import webdataset
from PIL import Image
with webdataset.ShardWriter(sys.argv[1] + "/%05d.tar", maxcount=4, verbose=0) as sink:
    for number in range(10):
        sink.write({"__key__": f"row/{number:04}", "jpg": Image.new("RGB", (24, 20), (number * 20, 0, 0)),
                    "txt": f"image {number}", "json": {"kind": f"k{number % 2}", "width": 24}, "cls": number % 3})
"""


@needs_peers
def test_we_read_what_webdataset_writes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _WRITE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    pairs = open_shards(f"{tmp_path}/{{00000..00002}}.tar", DataConfig(), 16, tokenize)
    assert len(pairs) == 10
    assert [pairs.captions_of(i) for i in (0, 9)] == [("image 0",), ("image 9",)]
    assert dict(pairs.labels(7)) == {"kind": "k1", "width": "24", "class": "1"}
    assert int(pairs.image(5)[0].float().mean().round()) in range(97, 104)
