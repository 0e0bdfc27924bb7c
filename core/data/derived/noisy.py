"""A training manifest with mismatched captions, of one of the kinds found in web data.

shuffled: the selected rows exchange captions; no such row keeps its caption. in-group: rows with the same label
exchange captions, which is harder to detect. word: one word of the caption is replaced by a word from another row.
generic: the caption is replaced by a caption that fits any image.

Flow: a study or ``python -m core demo-data --mismatched`` -> **noisy** writes ``noisy.csv`` (the extra column
``shuffled`` marks mismatched rows) and a manifest of the clean rows alone. Labels stay with their images. Training
ignores the extra column; ``python -m core noise`` evaluates its ranking with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.data.derived.manifest import labels_of, manifest
from core.data.derived.names import names_below
from core.data.sources.opening import open_source
from core.data.sources.rows import Source
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.study.config import NoiseKind

ROW_COLUMN = "shuffled"
GENERIC = ("an image", "an image", "a small icon", "a drawing of something", "untitled")
_MAX_ATTEMPTS = 100  # tries to find a word or caption that differs from the row's

Captions = tuple[str, ...]  # the captions of a row


def write_noisy(
    source: str | Path,
    share: float,
    seed: int,
    noisy: Path,
    clean: Path,
    kind: NoiseKind = "shuffled",
    group_label: str = "",
) -> tuple[int, int]:
    """Write ``source`` with mismatched captions to ``noisy`` and its clean rows to ``clean``.

    Returns the numbers of rows and of mismatched rows. Images stay in place: next to a manifest outside the images'
    folder, a link to that folder is created, since a manifest's paths must stay in its folder. ``group_label``: the
    label column for in-group noise. Raises UserError if the link cannot be created, the column does not exist, or too
    few captions differ.
    """
    opened_source = open_source(source)
    if kind == "in-group" and group_label not in opened_source.label_names:
        columns = ", ".join(opened_source.label_names) or "none"
        raise UserError(f"{source} has no label column '{group_label}' to shuffle within; its columns: {columns}.")
    captions = [row.captions for row in opened_source.rows]
    groups = [row.labels.get(group_label, "") for row in opened_source.rows]
    new_captions = mismatched_captions(captions, share, seed, kind, groups)
    is_mismatched = [new != old for new, old in zip(new_captions, captions, strict=True)]
    names = names_below([row.file for row in opened_source.rows], noisy.parent)
    _write(noisy, opened_source, names, new_captions, is_mismatched, range(len(is_mismatched)))
    untouched = [row for row in range(len(is_mismatched)) if not is_mismatched[row]]
    _write(clean, opened_source, names, captions, is_mismatched, untouched)
    return len(is_mismatched), sum(is_mismatched)


def mismatched_captions(
    captions: Sequence[Captions], share: float, seed: int, kind: NoiseKind, groups: Sequence[str]
) -> list[Captions]:
    """``captions`` in which a random ``share`` is mismatched by noise of ``kind``; ``groups``: each row's label.

    In-group noise applies ``share`` to each group; a group with too few different captions is left unchanged.
    """
    if kind == "shuffled":
        return [captions[giver] for giver in shuffle_rows(captions, share, seed)]
    if kind == "in-group":
        return _shuffle_within_groups(captions, share, seed, groups)
    rng = np.random.default_rng(seed)
    result = list(captions)
    words = [word for some in captions for caption in some for word in caption.split()]
    for row in rng.permutation(len(captions))[: round(share * len(captions))].tolist():
        result[row] = tuple(_corrupt(caption, kind, words, rng) for caption in captions[row])
    return result


def _shuffle_within_groups(
    captions: Sequence[Captions], share: float, seed: int, groups: Sequence[str]
) -> list[Captions]:
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    result = list(captions)
    for number, group in enumerate(sorted(members)):
        rows = members[group]
        try:
            order = shuffle_rows([captions[row] for row in rows], share, seed + number)
        except UserError:
            continue
        for row, giver in zip(rows, order, strict=True):
            result[row] = captions[rows[giver]]
    return result


def _corrupt(caption: str, kind: NoiseKind, words: Sequence[str], rng: np.random.Generator) -> str:
    """A generic caption, or ``caption`` with one word replaced by one of ``words``."""
    original = caption.split()
    word_index = int(rng.integers(max(1, len(original))))
    for _ in range(_MAX_ATTEMPTS):
        if kind == "generic":
            candidate = GENERIC[int(rng.integers(len(GENERIC)))]
        else:
            candidate = " ".join(
                [*original[:word_index], words[int(rng.integers(len(words)))], *original[word_index + 1 :]]
            )
        if candidate != caption:
            return candidate
    return caption


def shuffle_rows(captions: Sequence[Captions], share: float, seed: int) -> list[int]:
    """For each row, the row whose captions it gets: a random ``share`` of the rows gets captions that differ.

    Raises UserError if too few captions differ.
    """
    rng = np.random.default_rng(seed)
    order = list(range(len(captions)))
    rows = rng.permutation(len(captions))[: round(share * len(captions))].tolist()
    givers = [rows[i] for i in rng.permutation(len(rows))]
    for i, row in enumerate(rows):
        if captions[givers[i]] != captions[row]:
            continue
        for j in rng.permutation(len(rows)).tolist():  # swap with a row so that both captions then differ
            if captions[givers[j]] != captions[row] and captions[givers[i]] != captions[rows[j]]:
                givers[i], givers[j] = givers[j], givers[i]
                break
        else:
            raise UserError(
                f"{len(rows)} rows cannot exchange captions so that every row gets a different one: too many captions "
                "are identical. Choose a smaller share."
            )
    for row, giver in zip(rows, givers, strict=True):
        order[row] = giver
    return order


def _write(
    path: Path,
    source: Source,
    names: Sequence[str],
    captions: Sequence[Captions],
    is_mismatched: Sequence[bool],
    rows: Sequence[int],
) -> None:
    labels = [name for name in source.label_names if name != ROW_COLUMN]
    cells = {row: [*labels_of(source.rows[row], labels), int(is_mismatched[row])] for row in rows}
    pairs = ((names[row], caption, cells[row]) for row in rows for caption in captions[row])
    write_whole(path, manifest(pairs, [*labels, ROW_COLUMN]))
