"""Starts, stops, pauses and resumes local runs, and follows their output, for the commands in ``core.cli.running``."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from core.cli.homes import runs_folder
from core.cli.run_tables import read_row, table
from core.cli.terminal import one_line, refuse_existing, say
from core.spec.chain import Chain, ChainDir, chain_file, read_chain, run_label, write_chain
from core.spec.children import device_variables, python_command
from core.spec.config import RunConfig, parse_config, read_config
from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.installed import need
from core.spec.machines.machines import Machines
from core.spec.machines.record import is_remote, record_file
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.reading import MEGABYTE, open_regular, read_bytes
from core.spec.run.code import check_code_known, check_code_unchanged, code_option, keep_code
from core.spec.run.folder import RunDir, RunDirError, new_name
from core.spec.run.logged import LoggedConfig, read_any_config, read_logged
from core.spec.run.provenance import read_provenance
from core.spec.run.starting import start_trainer
from core.spec.run.status import RunState, process_alive
from core.spec.shards import is_shards

_POLL_INTERVAL_S = 0.2
_STATE_INTERVAL_S = 1.0
_NEXT_STAGE_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 20


def start_local_run(run: RunDir, config: str, devices: Sequence[str]) -> None:
    """Start a trainer that outlives this program. Raises UserError if it cannot be started."""
    need("train")
    run.create()
    keep_code(parse_config(config, "the config"), run)
    with writing(run.config, UserError):
        write_whole(run.config, config.encode())
    _start(run, devices)


def start_local_chain(folder: Path, chain: Chain, devices: Sequence[str]) -> None:
    """Start a trainer for all stages that outlives this program. Raises UserError if it cannot be started."""
    need("train")
    with writing(folder, UserError):
        first = write_chain(folder, chain.with_absolute_paths())
    _start(RunDir(first), devices)


def resume_local_run(run: RunDir) -> None:
    """Resume a local run, or the chain of which it is a stage. Raises UserError if it is running."""
    status = run.read_status()
    if status is not None and process_alive(status):
        raise UserError(f"{run.path.name} is already running; stop or pause it first.")
    if read_logged(run.config) is not None:
        raise UserError(f"{run.path.name} was logged by a script; restart the script with start_run(resume_step=...).")
    need("train")
    chain = chain_file(run.path)
    if chain is None:
        check_code_unchanged(read_config(run.config), run)
    else:
        check_code_known([stage.config for stage in read_chain(chain).stages])
    _start(run, ())


def reproduce(home: Path, run: RunDir, output: Path | None, launch: bool, as_json: bool) -> int:
    """Print how code, packages and data differ from those recorded for ``run``.

    ``output``: file to which the run's config is written. ``launch``: also start the run again, as a new run.
    """
    from core.tracking.reproducing import obstacles, script_steps

    config, recorded = read_any_config(run.config), read_provenance(run)
    if not recorded:
        raise UserError(f"{run.path.name} has no record of its code and packages; launch its config.json instead.")
    logged = isinstance(config, LoggedConfig)
    refuse_existing(output)
    if logged and (output or launch):
        raise UserError(f"{run.path.name} was logged by a script; start the script again yourself.")
    differing = obstacles(recorded, _current_provenance(run, config, recorded))
    steps = script_steps(config, recorded, str(run.path)) if isinstance(config, LoggedConfig) else []
    if as_json:
        print(json.dumps({"differing": differing, "steps": steps}, indent=1))
    elif differing:
        print(
            table(
                [
                    ("difference", "then", "now"),
                    *((name, *map(_text_of, values)) for name, values in differing.items()),
                ]
            )
        )
    else:
        say("code, packages, machine and data are unchanged")
    for step in steps if not as_json else ():
        print(one_line(step))
    if isinstance(config, RunConfig) and output is not None:
        with writing(output, UserError):
            write_whole(output, config.to_json().encode())
    if isinstance(config, RunConfig) and launch:
        folder = runs_folder(home) / new_name(config.name)
        start_local_run(RunDir(folder), config.to_json(), ())
        say(f"launched {folder}")
    return 0


def _text_of(value: object) -> str:
    return "" if value is None else str(value)


def _current_provenance(run: RunDir, config: RunConfig | LoggedConfig, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance that the run would record if it started now, without tokenising captions."""
    from core.tracking.provenance import collect, data_facts, trainer_folder

    code, recorded_data = recorded.get("code"), recorded.get("data")
    recorded_data = recorded_data if isinstance(recorded_data, Mapping) else {}
    if isinstance(config, LoggedConfig):
        folder = Path(str(code.get("folder"))) if isinstance(code, Mapping) else Path.cwd()
        data: dict[str, Any] = {path: data_facts(Path(path)) for path in recorded_data}
    else:
        from core.data.dataset import image_contents

        folder, data = trainer_folder(), {}
        for split, facts in recorded_data.items():
            try:
                path = str(getattr(config.data, split, ""))
                data[split] = dict(facts) if is_shards(path) else {**facts, **image_contents(path)}
            except UserError as error:
                data[split] = {"cannot be read": str(error)}
    current = collect(None, folder if folder.is_dir() else Path.cwd(), data=data, code=code is not None)
    return current | {"files": _current_file_digests(config, run, folder, recorded.get("files"))}


def _current_file_digests(config: RunConfig | LoggedConfig, run: RunDir, folder: Path, files: object) -> dict[str, str]:
    """The current digests of the recorded custom files; for a trainer's run, only the error for changed code."""
    digests = {}
    if isinstance(config, RunConfig):
        try:
            check_code_unchanged(config, run)
        except UserError as error:
            digests["custom code"] = str(error)
    for name in files if isinstance(files, Mapping) else ():
        with suppress(OSError, UserError, ValueError):
            content = read_bytes(folder / str(name), MEGABYTE, root=folder, error=UserError)
            digests[str(name)] = hashlib.sha256(content).hexdigest()[:12]
    return digests


def _start(run: RunDir, devices: Sequence[str]) -> None:
    variables = device_variables(",".join(devices))
    chain = chain_file(run.path)
    arguments = (
        [str(chain), str(chain.parent), "--stage-logs"]
        if chain
        else [str(run.config), str(run.path), *code_option(read_config(run.config))]
    )
    with writing(run.path, UserError):
        process = start_trainer([*python_command("core"), "train", *arguments], run, variables)
    threading.Thread(target=process.wait, name="reaper", daemon=True).start()


def end_local_run(run: RunDir, request: str, kill: bool) -> None:
    """Request the trainer of ``run`` to stop or pause, or kill the trainer."""
    from core.remote.processes import end_processes

    status = run.read_status()
    if status is None or not process_alive(status):
        raise UserError(f"{run.path.name} is not running.")
    if request == "pause" and read_logged(run.config) is not None:
        raise UserError(f"{run.path.name} is logged by a script, which cannot be paused; stop it instead.")
    if kill:
        end_processes(run.path, None, status, kill=True)
        return
    with writing(run.control, UserError):
        run.ask("stop" if request == "stop" else "pause")


def catch_up(home: Path, local_runs: Sequence[RunDir]) -> None:
    """Update the local copies of remote runs, and report machines that could not be reached."""
    if not any(record_file(run.path).exists() and is_remote(run.path) for run in local_runs):
        return
    with closing(RemoteRuns(Machines(home), lambda folder, sentence: say(sentence))) as remote:
        missing = remote.catch_up([run.path for run in local_runs])
    for machine, reason in missing.items():
        say(f"{machine} could not be reached, so its runs are shown in their last known state: {reason}")


def follow_logs(home: Path, run: RunDir, follow: bool, events: bool) -> int:
    """Print the run's output; with ``follow`` until run and chain end. Returns 0 if it is done, otherwise 3."""
    names = ("events.jsonl",) if events else ("stdout.log", "stderr.log")
    if not follow:
        catch_up(home, [run])
        for name in names:
            _print_from(run, name, 0)
        return 0
    with closing(RemoteRuns(Machines(home), lambda folder, sentence: say(sentence))) as remote:
        if is_remote(run.path):
            remote.attach(run)
        state = _follow(run, names)
        while state is RunState.DONE and (next_stage := _stage_after(run)) is not None:
            run = next_stage
            say(run_label(run.path))
            state = _follow(run, names)
        return 0 if state is RunState.DONE else 3


def _follow(run: RunDir, names: Sequence[str]) -> RunState:
    """Print the run's output until the run ends; returns its final state."""
    offsets, checked, reported = dict.fromkeys(names, 0), 0.0, ""
    state = RunState.STARTING
    while state.alive:
        time.sleep(_POLL_INTERVAL_S if checked else 0.0)
        if time.monotonic() - checked > _STATE_INTERVAL_S:
            checked = time.monotonic()
            row = read_row(run)
            state = RunState(row.state)
            if f"{row.state} {row.note}" != reported:
                reported = f"{row.state} {row.note}"
                say(one_line(f"[{row.state}] {row.note}".rstrip()))
        for name in names:
            offsets[name] = _print_from(run, name, offsets[name])
    return state


def _stage_after(run: RunDir) -> RunDir | None:
    """Wait for the stage after a finished stage; None after the last. Raises UserError if it does not start."""
    file = chain_file(run.path)
    if file is None:
        return None
    chain, folder = read_chain(file), ChainDir(file.parent)
    index = folder.index_after(chain, run.path)
    if index is None:
        return None
    stage = folder.stage(chain, index)
    deadline = time.monotonic() + _NEXT_STAGE_TIMEOUT_S
    while not stage.config.is_file():
        if time.monotonic() > deadline:
            raise UserError(f"the stage after {run.path.name} has not started; resume {run_label(run.path)}.")
        time.sleep(_POLL_INTERVAL_S)
    return stage


def _print_from(run: RunDir, name: str, offset: int) -> int:
    """Print the file from ``offset`` on; returns the new offset."""
    with suppress(FileNotFoundError), open_regular(run.path / name, root=run.path, error=RunDirError) as file:
        if file.seek(0, 2) < offset:
            offset = 0
        file.seek(offset)
        decoder = getincrementaldecoder("utf-8")("replace")
        while part := file.read(_CHUNK_BYTES):
            offset += len(part)
            text = decoder.decode(part)
            print(text.replace("\r\n", "\n").replace("\r", "\n"), end="")  # progress bars overwrite their line with \r
        offset -= len(decoder.getstate()[0])  # an incomplete character at the end is printed when it is complete
        sys.stdout.flush()
    return offset
