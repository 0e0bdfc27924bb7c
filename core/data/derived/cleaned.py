"""A data source saved again without the pairs that were marked as wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from core.data.derived.manifest import Pair, labels_of, manifest, refuse_target
from core.data.sources.opening import open_source
from core.spec.errors import UserError, writing
from core.spec.files import write_whole


def save_without(
    data: str,
    excluded: Sequence[str],
    to: Path,
    pairs: Collection[tuple[str, str]] = (),
    replace: bool = False,
) -> dict[str, Any]:
    """Write the rows of ``data`` without the images ``excluded`` and the ``pairs`` (path, caption) as a CSV.

    Returns {"path", "kept": images, "excluded": images, "captions": written}. Raises UserError as
    `NoiseSession.save` says.
    """
    source = open_source(data)
    left_out = set(excluded)
    unknown = left_out - {row.file for row in source.rows}
    if unknown:
        raise UserError(f"{data} has no image {min(unknown)}, which was to be left out.")
    refuse_target(to, data, replace)
    folder = to.parent.absolute()
    written: list[Pair] = []
    kept = 0
    for row in source.rows:
        rest = [one for one in row.captions if row.file not in left_out and (row.file, one) not in pairs]
        if not rest:
            continue
        if not row.image.is_relative_to(folder):
            raise UserError(f"{row.image} does not lie below {folder}; save the manifest in a folder above its images.")
        kept += 1
        name = row.image.relative_to(folder).as_posix()
        written += [(name, caption, labels_of(row, source.label_names)) for caption in rest]
    if not kept:
        raise UserError(f"nothing of {data} would be left; leave out fewer pairs.")
    with writing(to):
        write_whole(to, manifest(written, source.label_names))
    return {"path": str(to), "kept": kept, "excluded": len(source.rows) - kept, "captions": len(written)}
