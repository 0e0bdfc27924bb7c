"""A program that is killed while it fetches a checkpoint loses nothing; the next fetch continues."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from core.spec.machines.machine import Machine
from core.spec.machines.record import RemoteRecord, write_record
from core.spec.run.folder import RunDir
from tests.core.remote.conftest import command
from tests.core.remote.test_remote_runs import big_checkpoint

SIZE = 3_000_000
FETCH = """
import json, sys
from pathlib import Path
from core.spec.machines import fetching
from core.spec.machines.host import Host
from core.spec.machines.machine import Machine
from core.spec.run.folder import RunDir

fetching.CHUNK_BYTES = 20_000
host = Host(Machine(name="near"), command=json.loads(sys.argv[2]))
show = lambda done, total: print(done, flush=True)
fetching.fetch_checkpoint(host, RunDir(Path(sys.argv[1])), "last", show)
host.close()
"""


@pytest.mark.slow
def test_twenty_kills_of_a_fetch_lose_nothing(tmp_path: Path) -> None:
    there, run = tmp_path / "there" / "one", RunDir(tmp_path / "home" / "runs" / "one")
    step = big_checkpoint(there, SIZE)
    (there / "config.json").write_text("{}")
    run.create()
    write_record(run, RemoteRecord(machine="near", folder=str(there)))
    content = (step / "student.safetensors").read_bytes()
    words = json.dumps(command(Machine(name="near", runs=str(there.parent))))
    fetch = [sys.executable, "-c", FETCH, str(run.path), words]
    held, moments = run.checkpoints / f".{step.name}.fetch.tmp" / "student.safetensors", random.Random(7)
    before = kills = 0
    while kills < 20:
        with subprocess.Popen(fetch, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(moments.randrange(2, 9)):  # parts of 150 in all
                process.stdout.readline()
            process.kill()
        kills += 1
        assert not (run.checkpoints / step.name).exists(), "the checkpoint is complete or absent"
        got = held.read_bytes()
        assert len(got) >= before, "fetched data are kept"
        assert content.startswith(got), "nothing is fetched twice or lost"
        before = len(got)
    assert before > 0
    done = subprocess.run(fetch, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[1]) >= before, "it continues from there"
    assert (run.checkpoints / step.name / "student.safetensors").read_bytes() == content
    assert (run.checkpoints / "last").read_text() == step.name
