"""All rows of shards at once, as every other source gives them: for evaluation, an index, the noise ranking.

Flow: ``core.data.sources.opening`` comes here for a pattern of shards. A row's file is its picture's place in the tar,
which whatever reads pictures reads by `core.spec.shards.read_member`.
"""

from __future__ import annotations

from core.data.errors import BadRow, PictureError
from core.data.sources.rows import Row, Source
from core.data.sources.shards.collection import Progress, Shards

FORMAT = "WebDataset shards"


def read_shards(pattern: str, progress: Progress | None = None) -> Source:
    """The rows of the shards that ``pattern`` names, with their captions and labels.

    Raises DataError as `Shards.open` does.
    """
    shards = Shards.open(pattern, progress)
    rows: list[Row] = []
    bad = shards.all_bad_rows()
    names: dict[str, None] = {}
    for number in range(len(shards)):
        path = shards.path(number)
        try:
            texts = shards.texts(number)
        except PictureError as error:
            bad.append(BadRow(path, str(error)))
            continue
        names.update(dict.fromkeys(texts.labels))
        rows.append(Row(path, texts.captions, texts.labels))
    return Source(pattern, FORMAT, rows, bad, tuple(names))
