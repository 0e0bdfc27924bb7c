"""A copy of a data source with fixes applied: pairs left out, captions and labels replaced, images added.

Flow: the window's basket -> worker ``fixes_save`` -> **fixed** -> a table that training reads, with its record beside.
Images of the source stay where they are; added ones are copied beside the table, whose paths must not lead out of its
folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.data.derived.manifest import manifest, refuse_target
from core.data.derived.names import names_below
from core.data.sources.opening import open_source
from core.data.sources.rows import Row, Source, clean_caption
from core.spec.data.fixes import Fix, FixesRecord, record_path
from core.spec.errors import UserError, writing
from core.spec.files import write_whole

ADDED = "added"  # ends the name of the folder of added images


@dataclass
class _Changes:
    """The fixes of one image."""

    out: bool = False
    without: set[str] = field(default_factory=set)  # captions
    instead: dict[str, str] = field(default_factory=dict)  # caption -> its replacement; "" for all of them
    labels: dict[str, str] = field(default_factory=dict)
    more: list[str] = field(default_factory=list)  # captions of an added image


def save_fixed(data: str, fixes: Sequence[Fix], to: Path, replace: bool = False) -> FixesRecord:
    """Write ``data`` with ``fixes`` as the table ``to`` (CSV) and its record; returns the record.

    The later of two fixes of one thing counts. Raises UserError when a fix names an image, caption or label that the
    data have not, when nothing is left, when ``to`` exists and is not to be replaced, or is the data themselves.
    """
    refuse_target(to, data, replace)
    source = open_source(data)
    known = {row.file: row for row in source.rows}
    changes = _by_image(_as_named(fixes, known))
    for file, change in changes.items():
        _check(data, source, known.get(file), file, change)
    new = [file for file, change in changes.items() if file not in known and not change.out]
    kept = [(row, captions) for row in source.rows if (captions := _captions(row, changes.get(row.file)))]
    added = [(file, _added_captions(changes[file])) for file in new]
    if not kept and not added:
        raise UserError(f"nothing of {data} would be left; leave out fewer pairs.")
    with writing(to):
        folder = to.parent.absolute()
        names = names_below([row.file for row, _ in kept], folder) if kept else []
        table = [
            (name, one, _labels(row, source, changes.get(row.file)))
            for name, (row, captions) in zip(names, kept, strict=True)
            for one in captions
        ]
        for file, captions in added:
            name = _copy_in(Path(file), folder / f"{to.stem}-{ADDED}", folder)
            table += [
                (name, one, [changes[file].labels.get(label, "") for label in source.label_names]) for one in captions
            ]
        record = FixesRecord(
            source=data,
            fixed=to.name,
            made=time.time(),
            images=len(kept) + len(added),
            captions=len(table),
            fixes=tuple(fixes),
        )
        write_whole(record_path(to), json.dumps(record.model_dump(), indent=1).encode())
        write_whole(to, manifest(table, source.label_names))
    return record


def _as_named(fixes: Sequence[Fix], known: Mapping[str, Row]) -> list[Fix]:
    """``fixes`` with the paths that the source has for their images, which may lead there by a link."""
    if all(fix.path in known for fix in fixes):
        return list(fixes)
    # os.path.realpath, since Path's resolve is too slow for a million
    real = {os.path.realpath(file): file for file in known}
    return [
        fix if fix.path in known else fix.model_copy(update={"path": real.get(os.path.realpath(fix.path), fix.path)})
        for fix in fixes
    ]


def _by_image(fixes: Sequence[Fix]) -> dict[str, _Changes]:
    found: dict[str, _Changes] = defaultdict(_Changes)
    for fix in fixes:
        change, value = found[fix.path], clean_caption(fix.value)
        if fix.kind in ("wrong", "excluded"):
            if fix.caption:
                change.without.add(fix.caption)
                change.instead.pop(fix.caption, None)
            else:
                change.out = True
        elif not value:
            raise UserError(f"the fix of {fix.path} ({fix.kind}) is empty; write what it shall be, or remove the fix.")
        elif fix.kind == "recaptioned":
            change.instead[fix.caption] = value
            change.without.discard(fix.caption)
        elif fix.kind == "relabelled":
            change.labels[fix.label] = value
        else:
            change.out = False
            change.more.append(value)
    return found


def _check(data: str, source: Source, row: Row | None, file: str, change: _Changes) -> None:
    """Every fix is of something that is there; else the copy would not be what was decided."""
    named = {*change.without, *(caption for caption in change.instead if caption)}
    if row is None:
        if change.out or named or not (change.more or change.instead):
            raise UserError(f"{data} has no image {file}, which a fix is of; remove the fix, or choose its data.")
        if not Path(file).is_file():
            raise UserError(f"{file}, which was to be added, is not there; remove the fix.")
        return
    if missing := sorted(named - set(row.captions)):
        raise UserError(f"{file} has no caption {missing[0]!r} in {data}; remove its fix, or choose its data.")
    if unknown := sorted(set(change.labels) - set(source.label_names)):
        raise UserError(f"{data} has no label {unknown[0]!r}, which {file} was to get; remove its fix.")


def _captions(row: Row, change: _Changes | None) -> tuple[str, ...]:
    """The captions that are left of ``row``; none where it is left out."""
    if change is None:
        return row.captions
    if change.out:
        return ()
    if whole := change.instead.get(""):
        return tuple(dict.fromkeys((whole, *change.more)))
    left = (change.instead.get(one, one) for one in row.captions if one not in change.without)
    return tuple(dict.fromkeys((*left, *change.more)))


def _added_captions(change: _Changes) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*change.more, *change.instead.values())))


def _labels(row: Row, source: Source, change: _Changes | None) -> list[str]:
    new = change.labels if change is not None else {}
    return [new.get(label, row.labels.get(label, "")) for label in source.label_names]


def _copy_in(file: Path, folder: Path, root: Path) -> str:
    """Copy an image into ``folder``; returns its path from ``root``. Names of different files stay different."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    copy = folder / f"{file.stem[:80]}-{digest}{file.suffix}"
    shutil.copyfile(file, copy)
    return copy.relative_to(root).as_posix()
