"""Reads and compares the provenance of runs: code, packages, machine, command and data at the start of a run.

Flow: ``core.tracking.provenance.collect`` at each start -> ``provenance`` of `RunStarted`, and ``provenance.json`` for
the newest start -> ``read_provenance`` -> *Compare* and *Reproduce*. The content is plain data with these keys, any of
which may be missing: ``code`` (commit, branch, dirty, diff), ``files`` (custom code -> digest), ``packages`` (name ->
version), ``python``, ``system``, ``machine`` (host, cpu, cores, memory_gib, gpus, driver), ``command``, ``variables``,
``data`` (split -> its content), ``seed``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE, UnreadableError, read_json
from core.spec.run.events import EventReader, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.logged import differing_values, flatten_config

MAX_PROVENANCE_BYTES = 2 * MEGABYTE
_TITLES = {
    "code.commit": "git commit",
    "code.branch": "git branch",
    "code.dirty": "uncommitted changes",
    "code.diff_digest": "uncommitted changes (digest)",
    "code.folder": "code folder",
}
_NOT_COMPARED = frozenset({"code.diff", "code.problem"})


def write_provenance(run: RunDir, provenance: Mapping[str, Any]) -> None:
    """Write the provenance of the newest start. Raises OSError if it cannot be written."""
    write_whole(
        run.provenance, json.dumps(provenance, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")
    )


def read_provenance(run: RunDir) -> dict[str, Any]:
    """The provenance of the newest start (of a remote run: the first start); {} if unknown."""
    try:
        raw = read_json(run.provenance, MAX_PROVENANCE_BYTES, root=run.path, error=UnreadableError)
    except (OSError, UserError):
        raw = None
    if isinstance(raw, dict):
        return raw
    try:
        events = EventReader(run.events, containing=[RunStarted.kind]).read()
    except (OSError, UserError):
        return {}
    return next((dict(event.provenance) for event in events if isinstance(event, RunStarted)), {})


def facts(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted name -> value, for everything that *Compare* shows, with its titles."""
    values = {}
    for name, value in flatten_config(provenance):
        if name not in _NOT_COMPARED:
            values[_TITLES.get(name, name)] = " ".join(map(str, value)) if isinstance(value, list) else value
    return values


def differing(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Name -> one value per run (or None), for the items of the provenance in which runs differ.

    Runs without any recorded provenance do not count as different.
    """
    all_facts = [facts(run) for run in runs]
    names = differing_values([values for values in all_facts if values])
    return {name: [values.get(name) for values in all_facts] for name in names}
