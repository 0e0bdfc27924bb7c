"""A copy of a data source with fixes applied: pairs left out, captions and labels replaced, images added.

Flow: data fixes collected in the window -> worker ``fixes_save`` -> **fixed** -> a table that training reads, and a
record of the fixes next to it. Images of the source stay in place; added images are copied next to the table, whose
paths must stay in its folder.
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

from core.data.derived.manifest import check_target, manifest, write_with_record
from core.data.derived.names import names_below
from core.data.sources.opening import open_source
from core.data.sources.rows import Row, Source, clean_caption
from core.spec.data.fixes import Fix, FixesRecord, record_path
from core.spec.errors import UserError, writing

ADDED_SUFFIX = "added"  # suffix of the folder of added images


@dataclass
class _Changes:
    """The fixes of one image."""

    is_excluded: bool = False
    removed: set[str] = field(default_factory=set)  # captions
    replaced: dict[str, str] = field(default_factory=dict)  # caption -> its replacement; "" for all captions
    labels: dict[str, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)  # captions of an added image


def save_fixed(data: str, fixes: Sequence[Fix], target: Path, replace: bool = False) -> FixesRecord:
    """Write ``data`` with ``fixes`` as the table ``target`` (CSV) and its record; returns the record.

    If two fixes change the same field, the later one counts. Raises UserError if a fix concerns an image, caption or
    label that ``data`` does not have, if no pair is left, or if ``target`` is ``data`` itself or exists (unless
    ``replace``).
    """
    check_target(target, data, replace)
    source = open_source(data)
    rows_by_file = {row.file: row for row in source.rows}
    changes = _group_by_image(_resolve_paths(fixes, rows_by_file))
    for file, change in changes.items():
        _check(data, source, rows_by_file.get(file), file, change)
    new = [file for file, change in changes.items() if file not in rows_by_file and not change.is_excluded]
    remaining = [(row, captions) for row in source.rows if (captions := _captions(row, changes.get(row.file)))]
    added = [(file, _added_captions(changes[file])) for file in new]
    if not remaining and not added:
        raise UserError(f"no pair of {data} would be left; exclude fewer pairs.")
    with writing(target):
        folder = target.parent.absolute()
        names = names_below([row.file for row, _ in remaining], folder) if remaining else []
        table = [
            (name, caption, _labels(row, source, changes.get(row.file)))
            for name, (row, captions) in zip(names, remaining, strict=True)
            for caption in captions
        ]
        for file, captions in added:
            name = _copy_in(Path(file), folder / f"{target.stem}-{ADDED_SUFFIX}", folder)
            labels = [changes[file].labels.get(label, "") for label in source.label_names]
            table += [(name, caption, labels) for caption in captions]
        record = FixesRecord(
            source=data,
            fixed=target.name,
            made=time.time(),
            images=len(remaining) + len(added),
            captions=len(table),
            fixes=tuple(fixes),
        )
        write_with_record(
            target,
            manifest(table, source.label_names),
            record_path(target),
            json.dumps(record.model_dump(), indent=1).encode(),
        )
    return record


def _resolve_paths(fixes: Sequence[Fix], rows_by_file: Mapping[str, Row]) -> list[Fix]:
    """``fixes`` with each path as the source spells it, since a fix may refer to an image by a link."""
    if all(fix.path in rows_by_file for fix in fixes):
        return list(fixes)
    # os.path.realpath, since Path.resolve is too slow for a million files
    by_real_path = {os.path.realpath(file): file for file in rows_by_file}

    def source_path(path: str) -> str:
        return path if path in rows_by_file else by_real_path.get(os.path.realpath(path), path)

    return [fix.model_copy(update={"path": source_path(fix.path)}) for fix in fixes]


def _group_by_image(fixes: Sequence[Fix]) -> dict[str, _Changes]:
    changes: dict[str, _Changes] = defaultdict(_Changes)
    for fix in fixes:
        change, value = changes[fix.path], clean_caption(fix.value)
        if fix.kind in ("wrong", "excluded"):
            if fix.caption:
                change.removed.add(fix.caption)
                change.replaced.pop(fix.caption, None)
            else:
                change.is_excluded = True
        elif not value:
            raise UserError(f"the fix for {fix.path} ({fix.kind}) is empty; enter the new text, or remove the fix.")
        elif fix.kind == "recaptioned":
            change.replaced[fix.caption] = value
            change.removed.discard(fix.caption)
        elif fix.kind == "relabelled":
            change.labels[fix.label] = value
        else:
            change.is_excluded = False
            change.added.append(value)
    return changes


def _check(data: str, source: Source, row: Row | None, file: str, change: _Changes) -> None:
    """Raise UserError if a fix concerns an image, caption or label that does not exist."""
    fixed_captions = {*change.removed, *(caption for caption in change.replaced if caption)}
    if row is None:
        if change.is_excluded or fixed_captions or not (change.added or change.replaced):
            raise UserError(f"cannot fix {file}: {data} has no such image. Remove the fix, or choose other data.")
        if not Path(file).is_file():
            raise UserError(f"cannot add {file}: the file does not exist. Remove the fix.")
        return
    if missing := sorted(fixed_captions - set(row.captions)):
        raise UserError(f"{file} has no caption {missing[0]!r} in {data}; remove the fix, or choose other data.")
    if unknown := sorted(set(change.labels) - set(source.label_names)):
        raise UserError(f"{data} has no label {unknown[0]!r}, which a fix sets for {file}; remove the fix.")


def _captions(row: Row, change: _Changes | None) -> tuple[str, ...]:
    """The captions of ``row`` after its fixes; empty if the row is excluded."""
    if change is None:
        return row.captions
    if change.is_excluded:
        return ()
    if replacement := change.replaced.get(""):
        return tuple(dict.fromkeys((replacement, *change.added)))
    captions = (change.replaced.get(caption, caption) for caption in row.captions if caption not in change.removed)
    return tuple(dict.fromkeys((*captions, *change.added)))


def _added_captions(change: _Changes) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*change.added, *change.replaced.values())))


def _labels(row: Row, source: Source, change: _Changes | None) -> list[str]:
    new = change.labels if change is not None else {}
    return [new.get(label, row.labels.get(label, "")) for label in source.label_names]


def _copy_in(file: Path, folder: Path, root: Path) -> str:
    """Copy an image into ``folder`` under a name unique to its path; returns the copy's path relative to ``root``."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    copy = folder / f"{file.stem[:80]}-{digest}{file.suffix}"
    shutil.copyfile(file, copy)
    return copy.relative_to(root).as_posix()
