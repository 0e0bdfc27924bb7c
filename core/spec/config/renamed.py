"""Renamed settings, verbs, options and functions: the present name, and the version that drops the older one.

Flow: configs and ``--set`` (`core.spec.config.run`), the command line (`core.__main__`), ``import core``
and checkpoints ask ``present`` for the name that they read; a name that a person wrote gives an
``OldName`` warning, which the command line prints on stderr. ``docs/versions.md`` has the policy.

To rename something: rename it, and add a line to ``RENAMED``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["setting", "verb", "option", "python", "state"]
_WORDS: dict[Kind, str] = {
    "setting": "the setting {}",
    "verb": "the verb {}",
    "option": "the option {}",
    "python": "core.{}",
    "state": "{}",
}


@dataclass(frozen=True)
class Renamed:
    """``old`` is ``new`` now.

    A setting of a config is a dotted path (``optim.epochs``), an option its verb and itself (``train --set``), the
    state of a checkpoint an objective's buffer (``distill_prototypes.targets.centre``). ``gone``: the version that no
    longer knows the older name; "" where files that have it stay readable for good.
    """

    kind: Kind
    old: str
    new: str
    gone: str = ""

    @property
    def sentence(self) -> str:
        until = f"; the older name works until version {self.gone}" if self.gone else ""
        return f"{_WORDS[self.kind].format(self.old)} is now called {self.new}{until}."


class OldName(DeprecationWarning):
    """A name that still works, and will not for ever."""


RENAMED: tuple[Renamed, ...] = ()


def names(kind: Kind) -> dict[str, str]:
    """Older name -> present name, of everything of this ``kind``."""
    return {one.old: one.new for one in RENAMED if one.kind == kind}


def present(kind: Kind, name: str, told: bool = True) -> str:
    """The present name of ``name``, which is itself where it never changed; where ``told``, with a warning."""
    for one in RENAMED:
        if one.kind == kind and one.old == name:
            if told:
                warnings.warn(one.sentence, OldName, stacklevel=3)
            return one.new
    return name


def present_settings(raw: dict[str, Any]) -> dict[str, Any]:
    """A config as it was read, its settings under their present names; a value that both names have is left twice.

    Nothing is told: configs of run folders are frozen, and are read for good.
    """
    for old, new in names("setting").items():
        *above, name = old.split(".")
        section = _section(raw, above)
        if section is None or name not in section:
            continue
        *above_new, name_new = new.split(".")
        target = raw
        for part in above_new:
            target = target.setdefault(part, {})
        if isinstance(target, dict) and name_new not in target:
            target[name_new] = section.pop(name)
            if above and not section and (parent := _section(raw, above[:-1])) is not None:
                del parent[above[-1]]  # a section of which nothing is left
    return raw


def _section(raw: Any, path: Sequence[str]) -> dict[str, Any] | None:
    for part in path:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw if isinstance(raw, dict) else None


def present_arguments(arguments: Sequence[str]) -> list[str]:
    """A command line under present names: its verb, and the verb's options (``--old``, ``--old=VALUE``)."""
    if not arguments:
        return []
    verb = present("verb", arguments[0])
    return [verb, *(_option(verb, argument) for argument in arguments[1:])]


def _option(verb: str, argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    option, equals, value = argument.partition("=")
    return present("option", f"{verb} {option}").removeprefix(f"{verb} ") + equals + value
