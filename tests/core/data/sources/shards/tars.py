"""Shards as WebDataset lays them out, for the tests of core.data."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (24, 20)


def image(seed: int, kind: str = "PNG", size: tuple[int, int] = SIZE) -> bytes:
    """An image of coarse noise, ``size`` is width and height."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, kind)
    return content.getvalue()


def row(number: int, **more: Any) -> dict[str, bytes]:
    """Members of row ``number`` by their extension; ``json`` is written as such."""
    members = {"png": image(number), "txt": f"image {number} caption".encode()}
    for extension, value in more.items():
        members[extension] = json.dumps(value).encode() if extension == "json" else value
    return members


def write_shard(path: Path, rows: dict[str, dict[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> Path:
    """A tar of ``rows``: key -> extension -> content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for key, members in rows.items():
            for extension, content in members.items():
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def write_shards(folder: Path, counts: list[int]) -> str:
    """Shards of so many rows each, numbered on; the pattern that names them."""
    number = 0
    for shard, count in enumerate(counts):
        rows = {f"{number + i:06}": row(number + i) for i in range(count)}
        write_shard(folder / f"{shard:05}.tar", rows)
        number += count
    return str(folder / f"{{00000..{len(counts) - 1:05}}}.tar")
