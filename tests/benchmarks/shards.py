"""``python -m tests.benchmarks shards``: cost of ten million rows before the first batch, and after.

A thousand shards of ten thousand rows each are made without their images: the rows of a shard all lie at the same
place in it, which is all the same to whoever reads them. A process of its own opens them as training does and makes
batches with two loader processes; told are the seconds to the first batch (without loading torch), and the most memory
of any process after some more.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from core.bench.photographs import photograph
from core.bench.results import BenchResult, result
from core.data.sources.shards.index import ShardMetadata, make_index, path_beside, write_index
from core.spec.errors import UserError

SHARDS, ROWS = 1_000, 10_000
MOST_MEMORY, MOST_SECONDS = 2.0, 5.0  # GB a process, seconds to the first batch
BATCHES = 8

_PROCESS = """
import json, sys, time
import open_clip, psutil
from core.data.loader import Loader
from core.data.shard_pairs import open_shards
from core.model.towers.tokenizer import Tokenizer
from core.spec.config import override
from core.spec.presets import preset_config
pattern, batches = sys.argv[1], int(sys.argv[2])
config = override(preset_config("clip"), [f"data.train={pattern}", "data.workers=2"])
began = time.perf_counter()
data = open_shards(pattern, config.data, 224, Tokenizer({}, 77))
loader = Loader(data, config, 224, patch_side=32)
made = loader.batches(0, loader.total_steps)
next(made)
seconds = time.perf_counter() - began
most = 0
for _ in range(batches):
    next(made)
    here = psutil.Process()
    most = max([most, *(one.memory_info().rss for one in (here, *here.children()))])
made.close()
print(json.dumps({"rows": len(data), "seconds": seconds, "bytes": most}))
"""


def run(peer: Path | None = None) -> list[BenchResult]:
    """Two rows; about a minute, and 550 MB of disk while it runs."""
    with tempfile.TemporaryDirectory(prefix="sdgui-bench-") as folder:
        pattern = write_synthetic(Path(folder), SHARDS, ROWS)
        measured = first_batch(pattern, BATCHES)
    memory, seconds = measured["bytes"] / 1e9, measured["seconds"]
    million = f"{measured['rows'] / 1e6:g} M rows"
    return [
        result(f"{million}: memory a process, at most", memory, MOST_MEMORY, "GB", MOST_MEMORY / memory, 1.0),
        result(f"{million}: first batch, at most", seconds, MOST_SECONDS, "s", MOST_SECONDS / seconds, 1.0),
    ]


def write_synthetic(folder: Path, shards: int, rows: int) -> str:
    """So many shards whose ``rows`` rows all lie at one place; the pattern that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    content = _tar()
    for number in range(shards):
        path = folder / f"{number:05}.tar"
        path.write_bytes(content)
        one = make_index(path)
        digest = hashlib.sha256(str(number).encode()).hexdigest()[:32]  # else they would be doubles
        metadata = ShardMetadata.model_validate(one.metadata.model_dump() | {"rows": rows, "digest": digest})
        write_index(path_beside(path), metadata, np.repeat(one.table, rows))
    return str(folder / f"{{00000..{shards - 1:05}}}.tar")


def _tar() -> bytes:
    """A tar of one image and its caption."""
    image, made = io.BytesIO(), io.BytesIO()
    photograph(512, 384, 0).save(image, "JPEG", quality=90)
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in (("0.jpg", image.getvalue()), ("0.txt", b"a photograph of a quiet street")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def first_batch(pattern: str, batches: int) -> dict[str, float]:
    """What a process of its own measures: rows, seconds to the first batch, bytes of the largest process."""
    command = [sys.executable, "-c", _PROCESS, pattern, str(batches)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"the process that reads the shards ended with status {done.returncode}:\n{done.stderr[-2000:]}"
        )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured
