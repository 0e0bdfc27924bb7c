"""All rows of shards as a ``Source``, for evaluation, an index or the noise ranking.

Flow: ``core.data.sources.opening`` calls ``read_shards`` for a pattern of shards. A row's file is the location of its
image in the tar, which `core.spec.shards.read_member` reads.
"""

from __future__ import annotations

from core.data.errors import BadRow, ImageError
from core.data.sources.rows import Row, Source
from core.data.sources.shards.collection import Progress, Shards

FORMAT = "WebDataset shards"


_REPORT_EVERY = 500  # rows between two progress reports


def read_shards(pattern: str, progress: Progress | None = None) -> Source:
    """The rows of the shards that match ``pattern``, with captions and labels. Raises DataError like `Shards.open`."""
    return rows_of_shards(pattern, Shards.open(pattern, progress), progress)


def rows_of_shards(pattern: str, shards: Shards, progress: Progress | None = None, limit: int | None = None) -> Source:
    """The rows of ``shards``, or the first ``limit`` rows; ``pattern`` is the name of the source."""
    rows: list[Row] = []
    bad_rows = shards.all_bad_rows()
    names: dict[str, None] = {}
    count = len(shards) if limit is None else min(limit, len(shards))
    for number in range(count):
        if progress is not None and number % _REPORT_EVERY == 0:
            progress("reading captions", number, count)
        path = shards.path(number)
        try:
            texts = shards.texts(number)
        except ImageError as error:
            bad_rows.append(BadRow(path, str(error)))
            continue
        names.update(dict.fromkeys(texts.labels))
        rows.append(Row(path, texts.captions, texts.labels))
    return Source(pattern, FORMAT, rows, bad_rows, tuple(names))
