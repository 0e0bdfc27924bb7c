"""A training manifest with wrong captions: some rows' captions are dealt out among them, none keeps its own.

Flow: a study asks for noise -> **noisy** writes ``noisy.csv`` (a further column ``shuffled`` says which rows) and the
untouched rows alone. Labels stay with their pictures. The column is read by ``python -m core noise`` when it judges,
and by nothing that trains.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.data.derived.names import names_below
from core.data.sources.opening import open_source
from core.data.sources.rows import Row, Source
from core.spec.cells import marked_row
from core.spec.errors import UserError
from core.spec.files import write_whole

COLUMN = "shuffled"


def write_noisy(source: str | Path, share: float, seed: int, noisy: Path, kept: Path) -> tuple[int, int]:
    """Write the copy and the untouched rows of ``source``; returns how many rows there are, and how many are wrong.

    Pictures stay where they are: a manifest's paths must not lead out of its folder, so where the new ones lie
    elsewhere, a link to the pictures' folder is made beside them. Raises UserError when that is not allowed, or too few
    captions differ.
    """
    found = open_source(source)
    captions = [row.captions for row in found.rows]
    order = shuffled(captions, share, seed)
    wrong = [source != row for row, source in enumerate(order)]
    names = names_below([row.file for row in found.rows], noisy.parent)
    _write(noisy, found, names, [captions[source] for source in order], wrong, range(len(order)))
    untouched = [row for row in range(len(order)) if not wrong[row]]
    _write(kept, found, names, captions, wrong, untouched)
    return len(order), sum(wrong)


def shuffled(captions: Sequence[tuple[str, ...]], share: float, seed: int) -> list[int]:
    """Whose captions each row gets: ``share`` of the rows, drawn by ``seed``, get another's that differ from their own.

    Raises UserError when there are not enough different captions for that.
    """
    rng = np.random.default_rng(seed)
    order = list(range(len(captions)))
    chosen = rng.permutation(len(captions))[: round(share * len(captions))].tolist()
    dealt = [chosen[i] for i in rng.permutation(len(chosen))]
    for i, row in enumerate(chosen):
        if captions[dealt[i]] != captions[row]:
            continue
        for j in rng.permutation(len(chosen)).tolist():  # swap with a row where both then differ
            if captions[dealt[j]] != captions[row] and captions[dealt[i]] != captions[chosen[j]]:
                dealt[i], dealt[j] = dealt[j], dealt[i]
                break
        else:
            raise UserError(
                f"{len(chosen)} rows cannot exchange their captions so that none keeps its own; too many are the same."
            )
    for row, giver in zip(chosen, dealt, strict=True):
        order[row] = giver
    return order


def _write(
    path: Path,
    source: Source,
    names: Sequence[str],
    captions: Sequence[tuple[str, ...]],
    wrong: Sequence[bool],
    rows: Sequence[int],
) -> None:
    labels = [name for name in source.label_names if name != COLUMN]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["filepath", "title", *marked_row(labels), COLUMN])
    for row in rows:
        known: Row = source.rows[row]
        for caption in captions[row]:
            cells = (names[row], caption, *(known.labels.get(label, "") for label in labels), int(wrong[row]))
            writer.writerow(marked_row(cells))
    write_whole(path, text.getvalue().encode("utf-8", "surrogateescape"))
