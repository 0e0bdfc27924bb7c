"""Chains on other machines: each stage is mirrored as a run of its own, the next one as soon as one is done.

Flow: the first stage is handed over with the chain's config -> one program there trains all -> ``next_stage`` makes
the mirror of the stage that begins, whose config follows from the chain's.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import PurePosixPath

from core.spec.chain import LARGEST_FILE, ChainDir, chain_file, read_chain, stage_config
from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.answers import MOST_BYTES, Chunk, Submitted
from core.spec.machines.host import Host
from core.spec.machines.record import RemoteRecord, read_record, write_record
from core.spec.reading import read_text
from core.spec.run.code import pack_code
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, RunStatus


def submit(host: Host, run: RunDir, record: RemoteRecord, config: str, seconds: float) -> Future[Submitted]:
    """Hand over a run, or the chain that it is a stage of; without ``config`` it is resumed.

    Raises UserError for a stage whose earlier ones are on this computer.
    """
    devices, script = record.devices, record.script
    chain = chain_file(run.path)
    if chain is None:
        code = pack_code(run) if config else {}
        return host.submit(run.path.name, record.token, config, devices, script, seconds, code)
    run_config = ""
    if config:
        if run.path != ChainDir(chain.parent).stage(read_chain(chain), 0).path:
            raise UserError(
                f"The stages before {run.path.name} are on this computer, so it cannot go on on {record.machine}; "
                "resume it here."
            )
        run_config = read_text(chain, LARGEST_FILE)
    return host.submit_chain(chain.parent.name, run.path.name, record.token, run_config, devices, script, seconds)


def next_stage(run: RunDir) -> RunDir | None:
    """The mirror of the stage after the finished ``run``, made where there is none; None after the last one.

    UserError when the chain cannot be read, or the disk refuses.
    """
    file, record = chain_file(run.path), read_record(run)
    if file is None or record is None or not record.folder:
        return None
    folder, chain = ChainDir(file.parent), read_chain(file)
    names = [folder.stage(chain, place).path.name for place in range(len(chain.stages))]
    place = names.index(run.path.name) + 1 if run.path.name in names else len(names)
    if place == len(names):
        return None
    stage = folder.stage(chain, place)
    if not stage.config.is_file():
        there = PurePosixPath(record.folder).parent
        stage.create()
        write_record(stage, record.model_copy(update={"folder": str(there / names[place])}))
        with writing(stage.path, UserError):
            stage.write_status(_begins(record))
            config = stage_config(chain, ChainDir(str(there)), place)
            write_whole(stage.config, config.to_json().encode())  # last: from now on it is a run
    return stage


def _begins(record: RemoteRecord) -> RunStatus:
    state = RunState.STARTING.value
    host = f"{record.machine} (remote)"
    return RunStatus(pid=0, started=0.0, heartbeat=time.time(), doing=state, host=host, verdict=state)


def fetch_ensemble(host: Host, run: RunDir) -> None:
    """Copy the score of a chain's ensemble once its last stage is done, if there is one."""
    file, record = chain_file(run.path), read_record(run)
    if file is None or record is None or not read_chain(file).ensemble:
        return

    def settle(answered: Future[Chunk]) -> None:
        if not answered.cancelled() and answered.exception() is None:
            write_whole(ChainDir(file.parent).ensemble, answered.result().data)

    there = str(PurePosixPath(record.folder).parent)
    host.read(there, "ensemble.json", 0, MOST_BYTES).add_done_callback(settle)
