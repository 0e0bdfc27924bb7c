"""What keeps a run from being repeated as it was: its provenance compared with this machine, now.

Flow: ``sdgui-core reproduce RUN`` -> ``obstacles`` of what was recorded and what `core.tracking.provenance` finds now.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from core.spec.run.logged import LoggedConfig
from core.spec.run.provenance import facts

# In the order of their weight; hosts, folders and process numbers do not change a result.
_MATTER = (
    "data.", "git commit", "uncommitted changes", "files.", "packages.", "python", "machine.gpus", "machine.driver",
    "machine.cpu", "system", "variables.",
)  # fmt: skip
_HARMLESS = ("variables.SLURM_", "variables.RANK", "variables.LOCAL_")


def obstacles(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs and may change the result: name -> (then, now), None for what is not there."""
    then, today = facts(recorded), facts(now)
    names = [name for name in {**then, **today} if not name.startswith(_HARMLESS)]
    found = {}
    for begin in _MATTER:
        for name in names:
            if name.startswith(begin) and name not in found and then.get(name) != today.get(name):
                found[name] = (then.get(name), today.get(name))
    return found


def script_steps(config: LoggedConfig, recorded: Mapping[str, Any], folder: str) -> list[str]:
    """How a logged run is repeated by hand: commands of a shell, in order."""
    code, steps = recorded.get("code"), []
    if isinstance(code, Mapping) and code.get("commit"):
        steps.append(shlex.join(["git", "checkout", str(code["commit"])]))
        if code.get("diff"):
            steps.append(shlex.join(["git", "apply", f"{folder}/{code['diff']}"]))
    command = recorded.get("command")
    steps.append(shlex.join(map(str, command)) if isinstance(command, list) else f"(the command of {config.name})")
    return steps
