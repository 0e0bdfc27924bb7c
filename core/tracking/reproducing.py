"""Compares a run's recorded provenance with this machine, to find differences that may prevent reproducing the run.

Flow: ``sdgui-core reproduce RUN`` -> ``obstacles`` between the recorded provenance and a new `provenance.collect`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from core.spec.run.logged import LoggedConfig
from core.spec.run.provenance import facts

# Most important first; hosts, folders and process IDs do not change a result.
_RELEVANT = (
    "data.", "git commit", "uncommitted changes", "files.", "packages.", "python", "machine.gpus", "machine.driver",
    "machine.cpu", "system", "variables.",
)  # fmt: skip
_IRRELEVANT = ("variables.SLURM_", "variables.RANK", "variables.LOCAL_")


def obstacles(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The differences that may change the result: name -> (recorded, current value); None for a missing value."""
    before, current = facts(recorded), facts(now)
    names = [name for name in {**before, **current} if not name.startswith(_IRRELEVANT)]
    differences = {}
    for prefix in _RELEVANT:
        for name in names:
            if name.startswith(prefix) and name not in differences and before.get(name) != current.get(name):
                differences[name] = (before.get(name), current.get(name))
    return differences


def script_steps(config: LoggedConfig, recorded: Mapping[str, Any], folder: str) -> list[str]:
    """The shell commands that repeat a logged run manually, in order."""
    code, steps = recorded.get("code"), []
    if isinstance(code, Mapping) and code.get("commit"):
        steps.append(shlex.join(["git", "checkout", str(code["commit"])]))
        if code.get("diff"):
            steps.append(shlex.join(["git", "apply", f"{folder}/{code['diff']}"]))
    command = recorded.get("command")
    steps.append(shlex.join(map(str, command)) if isinstance(command, list) else f"(the command of {config.name})")
    return steps
