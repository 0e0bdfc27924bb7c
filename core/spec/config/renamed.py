"""Renamed settings, commands, options and functions: the current name, and the version that drops the old name.

Flow: configs and ``--set`` (`core.spec.config.run`), the command line (`core.__main__`), ``import core`` and
checkpoints pass the names they read to ``current_name``. An old name that a user types gives an ``OldName`` warning,
which the command line prints on stderr. ``docs/versions.md`` has the policy.

After renaming something, add a line to ``RENAMED``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["setting", "command", "option", "python", "state"]
_PHRASES: dict[Kind, str] = {
    "setting": "the setting {}",
    "command": "the command {}",
    "option": "the option {}",
    "python": "core.{}",
    "state": "{}",
}


@dataclass(frozen=True)
class Renamed:
    """``old`` is now called ``new``.

    A setting is a dotted path (``optim.epochs``), an option is a command and the option (``train --set``), and a
    checkpoint's state is an objective's buffer (``distill_prototypes.targets.centre``). ``gone``: the version that no
    longer accepts the old name; "" if files with the old name stay readable permanently.
    """

    kind: Kind
    old: str
    new: str
    gone: str = ""

    @property
    def sentence(self) -> str:
        deprecation = f"; the old name works until version {self.gone}" if self.gone else ""
        return f"{_PHRASES[self.kind].format(self.old)} is now called {self.new}{deprecation}."


class OldName(DeprecationWarning):
    """A name that is deprecated but still works."""


RENAMED: tuple[Renamed, ...] = ()


def current_name(kind: Kind, name: str, warn: bool = True) -> str:
    """The current name of ``name``: the same name if it was never renamed. ``warn``: warn about an old name."""
    for renamed in RENAMED:
        if renamed.kind == kind and renamed.old == name:
            if warn:
                warnings.warn(renamed.sentence, OldName, stacklevel=3)
            return renamed.new
    return name


def rename_settings(raw: dict[str, Any]) -> dict[str, Any]:
    """Move the settings of a raw config to their current names. If both names have a value, both are kept.

    There are no warnings, since the configs of run folders are frozen and stay readable permanently.
    """
    for renamed in RENAMED:
        *above, name = renamed.old.split(".")
        section = _section(raw, above) if renamed.kind == "setting" else None
        if section is None or name not in section:
            continue
        *above_new, name_new = renamed.new.split(".")
        target = raw
        for part in above_new:
            target = target.setdefault(part, {})
        if isinstance(target, dict) and name_new not in target:
            target[name_new] = section.pop(name)
            if above and not section and (parent := _section(raw, above[:-1])) is not None:
                del parent[above[-1]]  # the section is empty now
    return raw


def _section(raw: Any, path: Sequence[str]) -> dict[str, Any] | None:
    for part in path:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw if isinstance(raw, dict) else None


def rename_arguments(arguments: Sequence[str]) -> list[str]:
    """The command line with the current names of its command and options (``--old``, ``--old=VALUE``)."""
    if not arguments:
        return []
    command = current_name("command", arguments[0])
    return [command, *(_option(command, argument) for argument in arguments[1:])]


def _option(command: str, argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    option, equals, value = argument.partition("=")
    return current_name("option", f"{command} {option}").removeprefix(f"{command} ") + equals + value
