"""A data source saved again without the pairs that were marked as wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from core.data.derived.fixed import refuse_existing
from core.data.sources.opening import open_source
from core.spec.cells import marked_row
from core.spec.errors import UserError, writing
from core.spec.files import write_whole


def save_without(
    data: str,
    excluded: Sequence[str],
    to: Path,
    pairs: Collection[tuple[str, str]] = (),
    replace: bool = False,
) -> dict[str, Any]:
    """Write the rows of ``data`` without the pictures ``excluded`` and the ``pairs`` (path, caption) as a CSV.

    Returns {"path", "kept": pictures, "excluded": pictures, "captions": written}. Raises UserError as
    `NoiseSession.save` says.
    """
    source = open_source(data)
    left_out = set(excluded)
    unknown = left_out - {row.file for row in source.rows}
    if unknown:
        raise UserError(f"{data} has no picture {min(unknown)}, which was to be left out.")
    refuse_existing(to, data, replace)
    folder = to.parent.absolute()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["filepath", "title", *marked_row(source.label_names)])
    kept = captions = 0
    for row in source.rows:
        rest = [one for one in row.captions if row.file not in left_out and (row.file, one) not in pairs]
        if not rest:
            continue
        if not row.image.is_relative_to(folder):
            raise UserError(
                f"{row.image} does not lie below {folder}; save the manifest in a folder above its pictures."
            )
        kept, captions = kept + 1, captions + len(rest)
        name = row.image.relative_to(folder).as_posix()
        for caption in rest:
            writer.writerow(marked_row([name, caption, *(row.labels.get(label, "") for label in source.label_names)]))
    if not kept:
        raise UserError(f"nothing of {data} would be left; leave out fewer pairs.")
    with writing(to):
        write_whole(to, text.getvalue().encode("utf-8", "surrogateescape"))
    return {"path": str(to), "kept": kept, "excluded": len(source.rows) - kept, "captions": captions}
