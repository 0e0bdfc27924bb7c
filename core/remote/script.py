"""Builds the commands that start a run on this machine: directly, through torchrun, or with a script for sbatch.

The script can be read and edited before it is submitted. It takes the run's name from the job's, so one script fits
every run of a machine. On Slurm's warning before the time limit or a preemption, it pauses the trainer, waits until it
has saved, and requeues itself to resume. Only the batch shell gets the signal (B:), because torchrun exits on USR1 and
orphans its workers.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from core.spec.children import SOURCE_FOLDER
from core.spec.machines.machine import CPUS_PER_GPU, Machine
from core.spec.run.folder import RunDir

SCRIPT_FILE = "job.sbatch"
REQUEUE_LOG = "requeues.log"  # the reasons for requeueing, one per line

_RUN_AND_REQUEUE = """
requeue=""
pause_and_requeue() {
  left=$(( ${SLURM_JOB_END_TIME:-0} - $(date +%s) ))
  why="preemption"
  [ "$left" -le {soon} ] && why="time limit"
  if [ ! -e "{run}/control" ]; then
    requeue="$why"
    printf pause > "{run}/control"
  fi
}
trap pause_and_requeue USR1
trap : TERM

{command} &
pid=$!
wait $pid; code=$?
while kill -0 $pid 2>/dev/null; do wait $pid; code=$?; done

last=$(grep -asE '"kind":"run_(started|finished|failed)"' "{run}/events.jsonl" | tail -n 1)
case "$last" in *'"outcome":"paused"'*)
  if [ -n "$requeue" ]; then
    echo "$(date +%s) $requeue" >> "{run}/{requeues}"
    scontrol requeue "$SLURM_JOB_ID" && sleep 60
  fi ;;
esac
exit $code
"""


def program() -> list[str]:
    """The command of the trainer, without a subcommand."""
    return [sys.executable, "-m", "core"]


def direct_command(machine: Machine, run: RunDir, devices: Sequence[str]) -> list[str]:
    """The command that trains ``run``. With torchrun, it starts one process per device."""
    train = ["train", str(run.config), str(run.path)]
    if machine.launcher == "torchrun":
        ranks = machine.processes or len(devices) or machine.gpus or 1
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        return [*torchrun, "-m", "core", *train]
    return [*program(), *train]


def chain_command(run: RunDir) -> list[str]:
    """The command that trains the chain of which ``run`` is a stage."""
    chain = run.path.parent
    return [*program(), "train", str(chain / "chain.json"), str(chain), "--stage-logs"]


def study_command(arguments: Sequence[str]) -> list[str]:
    """The command of a study's job."""
    return [sys.executable, "-m", "core.studies.study.places.remote_main", *arguments]


def sbatch_script(machine: Machine, run: RunDir, devices: Sequence[str] = ()) -> str:
    """The sbatch script for a run whose folder has the name of the job and contains the config."""
    logs, run_folder = f"{_sbatch_path(run.path.parent)}/%x", f'{shlex.quote(str(run.path.parent))}/"$SLURM_JOB_NAME"'
    command = f'srun --unbuffered {shlex.join(program())} train "$RUN/config.json" "$RUN"'
    if _ranks(machine, devices) * machine.nodes > 1:
        command = _torchrun(machine, devices)
    return _script(machine, logs, run_folder, command, devices)


def chain_script(machine: Machine, run: RunDir, devices: Sequence[str] = ()) -> str:
    """The sbatch script for a chain that starts or resumes with the stage ``run``: one job for all stages.

    One process, with one GPU if jobs have GPUs. When requeued, it resumes the unfinished stage.
    """
    chain = run.path.parent
    command = f'srun --unbuffered {shlex.join(program())} train "$RUN/chain.json" "$RUN" --stage-logs'
    stage = 'stage() { ls -d "$RUN"/stage-* | sort -V | tail -n 1; }  # the stage that began last'
    run_folder = f"{shlex.quote(str(chain))}\n{stage}"
    return _script(_with_one_gpu(machine), _sbatch_path(run.path), run_folder, command, devices[:1], "$(stage)")


def study_script(machine: Machine, run: RunDir, arguments: Sequence[str], devices: Sequence[str] = ()) -> str:
    """The sbatch script for one job of a study: one process, with one GPU if the machine's jobs have GPUs."""
    command = f"srun --unbuffered {shlex.join(study_command(arguments))}"
    return _script(_with_one_gpu(machine), _sbatch_path(run.path), shlex.quote(str(run.path)), command, devices)


def _with_one_gpu(machine: Machine) -> Machine:
    return machine.model_copy(update={"nodes": 1, "gpus": min(1, machine.gpus), "processes": 1})


def _script(
    machine: Machine, logs: str, run_folder: str, command: str, devices: Sequence[str], run: str = "$RUN"
) -> str:
    """``logs``: the run folder in sbatch's syntax; ``run_folder`` and ``run``: the run folder in the shell's syntax."""
    body = _RUN_AND_REQUEUE.replace("{command}", command).replace("{requeues}", REQUEUE_LOG).replace("{run}", run)
    body = body.replace("{soon}", str(machine.warning + 60))
    return "\n".join([*_header(machine, logs, devices), "", *_setup(machine, run_folder), body])


def _header(machine: Machine, logs: str, devices: Sequence[str]) -> list[str]:
    gpus = len(devices) or machine.gpus
    cpus_per_rank = machine.cpus or (CPUS_PER_GPU if gpus else 0)
    cpus = cpus_per_rank * _ranks(machine, devices)  # one task has all ranks of a node
    options = [
        f"--output={logs}/stdout.log",
        f"--error={logs}/stderr.log",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR1@{machine.warning}",
        f"--nodes={machine.nodes}",
        "--ntasks-per-node=1",
        machine.partition and f"--partition={machine.partition}",
        machine.time and f"--time={machine.time}",
        f"--gpus-per-node={gpus}" if gpus else "",
        f"--cpus-per-task={cpus}" if cpus else "",
    ]
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options if option)]
    return [*lines, *(line.rstrip() for line in machine.sbatch.splitlines() if line.strip())]


def _setup(machine: Machine, run_folder: str) -> list[str]:
    lines = [
        f"RUN={run_folder}",
        "export PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1",
        # Since Slurm 22.05, srun does not inherit this value from sbatch, and its task would get only one core.
        '[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',
    ]
    if SOURCE_FOLDER.name not in ("site-packages", "dist-packages"):  # not installed: a checkout
        lines.append(f"export PYTHONPATH={shlex.quote(str(SOURCE_FOLDER))}${{PYTHONPATH:+:$PYTHONPATH}}")
    return [*machine.setup.strip().splitlines(), *lines]


def _torchrun(machine: Machine, devices: Sequence[str]) -> str:
    """One agent per node; the rendezvous is at the first node's address, on a port that depends on the job."""
    lines = []
    rendezvous = "--standalone"
    if machine.nodes > 1:
        lines = [
            'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            "address=$(scontrol show node \"$first\" | grep -oE 'NodeAddr=[^ ]+' | cut -d= -f2)",
        ]
        rendezvous = (
            '--nnodes="$SLURM_NNODES" --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d '
            '--rdzv-endpoint="$address:$(( 20000 + SLURM_JOB_ID % 10000 ))"'
        )
    run = (
        f"srun --unbuffered {shlex.quote(sys.executable)} -m torch.distributed.run {rendezvous} "
        f'--nproc-per-node={_ranks(machine, devices)} -m core train "$RUN/config.json" "$RUN"'
    )
    return "\n".join([*lines, run])


def _ranks(machine: Machine, devices: Sequence[str]) -> int:
    return machine.processes or len(devices) or machine.gpus or 1


def _sbatch_path(path: Path) -> str:
    """``path`` escaped for sbatch, which reads % as the start of a pattern, and quotes and # as the shell does."""
    return re.sub(r"""([\\\s"'#])""", r"\\\1", str(path).replace("%", "%%"))
