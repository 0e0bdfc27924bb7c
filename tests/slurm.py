"""Slurm as two virtual nodes on this machine for tests, where it is installed and this is root; no daemon stays.

Two partitions share the nodes: jobs of ``high`` preempt those of ``low``, which are requeued.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.daemons import MOST_RESTARTS, Daemon, keep_running
from tests.sshd import free_port, program

_PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "sinfo", "scancel")
_PLUGINS = ("/usr/lib/x86_64-linux-gnu/slurm-wlm", "/usr/lib/aarch64-linux-gnu/slurm-wlm", "/usr/lib64/slurm")


def missing_slurm() -> str:
    """What hinders a Slurm of one's own here; "" when nothing does."""
    if os.name != "posix" or os.geteuid() != 0:
        return "root, who may start slurmd"
    if missing := ", ".join(name for name in _PROGRAMS if not program(name)):
        return missing
    return "" if _plugins() else "Slurm's plugins"


def _plugins() -> str:
    return next((folder for folder in _PLUGINS if (Path(folder) / "auth_slurm.so").exists()), "")


@contextmanager
def virtual_slurm(folder: Path) -> Iterator[dict[str, str]]:
    """The variables by which Slurm's commands find this one, until the end of the block."""
    for name in ("state", "spool", "run", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    key = folder / "slurm.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    (folder / "slurm.conf").write_text(_configuration(folder))
    for path in ("/run/slurm", "/run/slurmctld"):
        Path(path).mkdir(parents=True, exist_ok=True)
    variables = {"SLURM_CONF": str(folder / "slurm.conf"), "SLURM_SACK_KEY": str(key)}
    environment = os.environ | variables
    daemons = [Daemon([program("slurmctld") or "slurmctld", "-D", "-c"], variables)]
    daemons += [Daemon([program("slurmd") or "slurmd", "-D", "-N", node], variables) for node in ("n1", "n2")]
    with keep_running(daemons):
        try:
            _wait_until_idle(environment, folder, daemons)
            daemons[0].command = daemons[0].command[:-1]  # -c forgets the jobs: for the first start alone
            yield variables
        finally:
            scancel = program("scancel") or "scancel"
            subprocess.run([scancel, "--full", "--signal=KILL", "-u", "root"], env=environment, check=False)
            time.sleep(0.2)


def _wait_until_idle(environment: dict[str, str], folder: Path, daemons: Sequence[Daemon]) -> None:
    """As long as the daemons live, a busy machine may take its time."""
    sinfo = [program("sinfo") or "sinfo", "-h", "-p", "low", "-o", "%T %D"]
    for _ in range(6000):
        if any(daemon.restarts == MOST_RESTARTS for daemon in daemons):
            break
        done = subprocess.run(sinfo, env=environment, capture_output=True, text=True, check=False)
        if done.stdout.split() == ["idle", "2"]:
            return
        time.sleep(0.1)
    logs = "\n".join(path.read_text()[-2000:] for path in (folder / "log").glob("*.log"))
    raise RuntimeError(f"Slurm's nodes are not idle: {done.stdout} {done.stderr}\n{logs}")


def _configuration(folder: Path) -> str:
    host = socket.gethostname().split(".")[0]
    ports = [free_port() for _ in range(3)]
    nodes = "\n".join(
        f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 State=UNKNOWN"
        for number, port in enumerate(ports[1:], 1)
    )
    return f"""ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/slurm
CredType=cred/slurm
AuthInfo=use_client_ids
PluginDir={_plugins()}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/ctld.pid
SlurmdPidFile={folder}/run/d.%n.pid
SlurmctldLogFile={folder}/log/ctld.log
SlurmdLogFile={folder}/log/d.%n.log
SlurmctldPort={ports[0]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=3
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=100000
JobRequeue=1
MinJobAge=300
{nodes}
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
