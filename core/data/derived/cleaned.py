"""A copy of a data source without the pairs that were marked as mismatched."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from core.data.derived.manifest import Pair, check_target, labels_of, manifest
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

    Returns {"path", "kept": images, "excluded": images, "captions": written}. Raises UserError as documented for
    `NoiseSession.save`.
    """
    source = open_source(data)
    left_out = set(excluded)
    unknown = left_out - {row.file for row in source.rows}
    if unknown:
        raise UserError(f"cannot leave out {min(unknown)}: {data} has no such image. Rank the data again.")
    check_target(to, data, replace)
    folder = to.parent.absolute()
    remaining_pairs: list[Pair] = []
    kept_count = 0
    for row in source.rows:
        captions = [caption for caption in row.captions if (row.file, caption) not in pairs]
        if row.file in left_out or not captions:
            continue
        if not row.image.is_relative_to(folder):
            raise UserError(f"{row.image} is not inside {folder}; save the manifest in a folder above its images.")
        kept_count += 1
        name = row.image.relative_to(folder).as_posix()
        remaining_pairs += [(name, caption, labels_of(row, source.label_names)) for caption in captions]
    if not kept_count:
        raise UserError(f"no pair of {data} would be left; exclude fewer pairs.")
    with writing(to):
        write_whole(to, manifest(remaining_pairs, source.label_names))
    return {
        "path": str(to),
        "kept": kept_count,
        "excluded": len(source.rows) - kept_count,
        "captions": len(remaining_pairs),
    }
