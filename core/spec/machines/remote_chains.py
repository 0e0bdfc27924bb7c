"""Chains on other machines: each stage is mirrored as a separate run, which is created when the previous stage is done.

Flow: the first stage is submitted with the chain's config -> one remote program trains all stages -> ``next_stage``
creates the mirror of the stage that starts.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import PurePosixPath

from core.spec.chain import MAX_CHAIN_BYTES, ChainDir, chain_file, read_chain, stage_config
from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.answers import Submitted
from core.spec.machines.host import Host
from core.spec.machines.record import RemoteRecord, read_record, write_record
from core.spec.reading import read_text
from core.spec.run.code import pack_code
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, RunStatus


def submit(host: Host, run: RunDir, record: RemoteRecord, config: str, seconds: float) -> Future[Submitted]:
    """Submit a run, or the chain that contains it; without ``config``, resume the run.

    Raises UserError for a stage of a chain whose earlier stages are on this computer.
    """
    devices, script = record.devices, record.script
    chain = chain_file(run.path)
    if chain is None:
        code = pack_code(run) if config else {}
        return host.submit(run.path.name, record.token, config, devices, script, seconds, code)
    chain_text = ""
    if config:
        if run.path != ChainDir(chain.parent).stage(read_chain(chain), 0).path:
            raise UserError(
                f"The stages before {run.path.name} are on this computer, so this stage cannot be resumed on "
                f"{record.machine}; resume it on this computer."
            )
        chain_text = read_text(chain, MAX_CHAIN_BYTES)
    return host.submit_chain(chain.parent.name, run.path.name, record.token, chain_text, devices, script, seconds)


def next_stage(run: RunDir) -> RunDir | None:
    """The mirror of the stage after the finished ``run``, created if missing; None after the last stage.

    Raises UserError if the chain cannot be read, or the mirror cannot be written.
    """
    file, record = chain_file(run.path), read_record(run)
    if file is None or record is None or not record.folder:
        return None
    folder, chain = ChainDir(file.parent), read_chain(file)
    index = folder.index_after(chain, run.path)
    if index is None:
        return None
    stage = folder.stage(chain, index)
    if not stage.config.is_file():
        remote_chain = PurePosixPath(record.folder).parent
        stage.create()
        write_record(stage, record.model_copy(update={"folder": str(remote_chain / stage.path.name)}))
        with writing(stage.path, UserError):
            stage.write_status(_starting(record))
            config = stage_config(chain, ChainDir(str(remote_chain)), index)
            write_whole(stage.config, config.to_json().encode())  # last: makes the folder a run
    return stage


def _starting(record: RemoteRecord) -> RunStatus:
    state = RunState.STARTING
    host = f"{record.machine} (remote)"
    return RunStatus(pid=0, started=0.0, heartbeat=time.time(), doing=state.value, host=host, verdict=state)
