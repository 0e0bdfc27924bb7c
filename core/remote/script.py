"""The commands that start a run here: directly, through torchrun, or the script for sbatch.

The script is plain and complete, to be read and edited before it is sent; it knows its run by the job's name, so that
the same fits every run of a machine. It turns Slurm's warning before the time limit, or before a preemption, into the
trainer's own *pause*, waits until that is saved, and puts itself back into the queue, where it goes on by itself. Only
the batch shell is signalled (B:), since torchrun dies of USR1 and orphans its workers.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from core.spec.children import SOURCE
from core.spec.machines.machine import CPUS_PER_GPU, Machine
from core.spec.run.folder import RunDir

SCRIPT = "job.sbatch"
REQUEUES = "requeues.log"  # why the script put itself back, a line each

_WAIT = """
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
    """The program that trains, without its verb."""
    return [sys.executable, "-m", "core"]


def direct_command(machine: Machine, run: RunDir, devices: Sequence[str]) -> list[str]:
    """The program of its own that trains here; with torchrun, one process a device."""
    train = ["train", str(run.config), str(run.path)]
    if machine.launcher == "torchrun":
        ranks = machine.processes or len(devices) or machine.gpus or 1
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        return [*torchrun, "-m", "core", *train]
    return [*program(), *train]


def chain_command(run: RunDir) -> list[str]:
    """The program of its own that trains the chain of which ``run`` is a stage."""
    chain = run.path.parent
    return [*program(), "train", str(chain / "chain.json"), str(chain), "--stage-logs"]


def study_program() -> list[str]:
    """The program that does a part of a study's work, without its arguments."""
    return [sys.executable, "-m", "core.studies.study.places.remote_main"]


def study_command(words: Sequence[str]) -> list[str]:
    """The program of its own that does a part of a study's work here."""
    return [*study_program(), *words]


def sbatch_script(machine: Machine, run: RunDir, devices: Sequence[str] = ()) -> str:
    """The script for a run whose config lies in its folder, which has the job's name."""
    logs, where = f"{_plain(run.path.parent)}/%x", f'{shlex.quote(str(run.path.parent))}/"$SLURM_JOB_NAME"'
    command = _one_process() if _ranks(machine, devices) * machine.nodes == 1 else _torchrun(machine, devices)
    return _script(machine, logs, where, command, devices)


def chain_script(machine: Machine, run: RunDir, devices: Sequence[str] = ()) -> str:
    """The script for a chain that begins, or goes on, with the stage ``run``: one job, whatever the stages.

    It is one process, with one GPU where a job has some. Requeued, it goes on with the stage that was not finished.
    """
    chain = run.path.parent
    command = f'srun --unbuffered {shlex.join(program())} train "$RUN/chain.json" "$RUN" --stage-logs'
    stage = 'stage() { ls -d "$RUN"/stage-* | sort -V | tail -n 1; }  # the one that began last'
    where = f"{shlex.quote(str(chain))}\n{stage}"
    return _script(_one_gpu(machine), _plain(run.path), where, command, devices[:1], "$(stage)")


def study_script(machine: Machine, run: RunDir, words: Sequence[str], devices: Sequence[str] = ()) -> str:
    """The script for one run of a study: one process, and one GPU where a job has some."""
    command = f"srun --unbuffered {shlex.join(study_command(words))}"
    return _script(_one_gpu(machine), _plain(run.path), shlex.quote(str(run.path)), command, devices)


def _one_gpu(machine: Machine) -> Machine:
    return machine.model_copy(update={"nodes": 1, "gpus": min(1, machine.gpus), "processes": 1})


def _script(machine: Machine, logs: str, where: str, command: str, devices: Sequence[str], run: str = "$RUN") -> str:
    """``logs``: the run folder as sbatch reads it; ``where``, and ``run`` at any time later: as the shell does."""
    body = _body(machine, command, run)
    return "\n".join([*_head(machine, logs, devices), "", *_setup(machine, where), body])


def _head(machine: Machine, logs: str, devices: Sequence[str]) -> list[str]:
    gpus = len(devices) or machine.gpus
    cpus = (machine.cpus or (CPUS_PER_GPU if gpus else 0)) * _ranks(machine, devices)  # a task is all ranks of a node
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


def _setup(machine: Machine, where: str) -> list[str]:
    lines = [
        f"RUN={where}",
        "export PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1",
        # Since Slurm 22.05 srun does not take it over from sbatch, and would give its task one core.
        '[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',
    ]
    if SOURCE.name not in ("site-packages", "dist-packages"):  # a checkout that is not installed
        lines.append(f"export PYTHONPATH={shlex.quote(str(SOURCE))}${{PYTHONPATH:+:$PYTHONPATH}}")
    return [*machine.setup.strip().splitlines(), *lines]


def _body(machine: Machine, command: str, run: str) -> str:
    text = _WAIT.replace("{command}", command).replace("{requeues}", REQUEUES).replace("{run}", run)
    return text.replace("{soon}", str(machine.warning + 60))


def _one_process() -> str:
    return f'srun --unbuffered {shlex.join(program())} train "$RUN/config.json" "$RUN"'


def _torchrun(machine: Machine, devices: Sequence[str]) -> str:
    """One agent a node; they meet at the first node's address, at a port of the job's own."""
    lines = []
    meet = "--standalone"
    if machine.nodes > 1:
        lines = [
            'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            "address=$(scontrol show node \"$first\" | grep -oE 'NodeAddr=[^ ]+' | cut -d= -f2)",
        ]
        meet = (
            '--nnodes="$SLURM_NNODES" --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d '
            '--rdzv-endpoint="$address:$(( 20000 + SLURM_JOB_ID % 10000 ))"'
        )
    run = (
        f"srun --unbuffered {shlex.quote(sys.executable)} -m torch.distributed.run {meet} "
        f'--nproc-per-node={_ranks(machine, devices)} -m core train "$RUN/config.json" "$RUN"'
    )
    return "\n".join([*lines, run])


def _ranks(machine: Machine, devices: Sequence[str]) -> int:
    return machine.processes or len(devices) or machine.gpus or 1


def _plain(path: Path) -> str:
    """A path for sbatch, which reads % as the beginning of a pattern."""
    return str(path).replace("%", "%%").replace(" ", "\\ ")
