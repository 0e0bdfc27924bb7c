"""A training manifest with wrong captions, of one of the kinds that are found in collections of pairs.

shuffled: the captions of some rows are dealt out among them, none keeps its own. in-group: the same among rows with the
same label, which is harder to tell. word: one word is another row's. generic: a caption that would fit any image.

Flow: a study or ``python -m core demo-data --wrong`` asks for noise -> **noisy** writes ``noisy.csv`` (a further column
``shuffled`` says which rows are wrong) and the untouched rows alone. Labels stay with their images. The column is
read by ``python -m core noise`` when it judges, and by nothing that trains.
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
from core.spec.reading import excerpt
from core.spec.study.config import NoiseKind

COLUMN = "shuffled"
GENERIC = ("an image", "an image", "a small icon", "a drawing of something", "untitled")
_ATTEMPTS = 100  # at another word or caption than the row's own

Captions = tuple[str, ...]  # of one row


def write_noisy(
    source: str | Path,
    share: float,
    seed: int,
    noisy: Path,
    kept: Path,
    kind: NoiseKind = "shuffled",
    within: str = "",
) -> tuple[int, int]:
    """Write the copy and the untouched rows of ``source``; returns how many rows there are, and how many are wrong.

    Images stay where they are: a manifest's paths must not lead out of its folder, so where the new ones lie
    elsewhere, a link to the images' folder is made beside them. ``within``: the label column of in-group. Raises
    UserError when that is not allowed, there is no such column, or too few captions differ.
    """
    found = open_source(source)
    if kind == "in-group" and within not in found.label_names:
        there = ", ".join(found.label_names) or "none"
        raise UserError(f"{source} has no label column '{excerpt(within)}' to shuffle within; its columns: {there}.")
    captions = [row.captions for row in found.rows]
    groups = [row.labels.get(within, "") for row in found.rows]
    changed = wrong_captions(captions, share, seed, kind, groups)
    wrong = [new != old for new, old in zip(changed, captions, strict=True)]
    names = names_below([row.file for row in found.rows], noisy.parent)
    _write(noisy, found, names, changed, wrong, range(len(wrong)))
    untouched = [row for row in range(len(wrong)) if not wrong[row]]
    _write(kept, found, names, captions, wrong, untouched)
    return len(wrong), sum(wrong)


def wrong_captions(
    captions: Sequence[Captions], share: float, seed: int, kind: NoiseKind, groups: Sequence[str]
) -> list[Captions]:
    """``captions`` of which ``share``, drawn by ``seed``, are wrong in the way ``kind``; ``groups``: a label of each.

    In-group, ``share`` is of each group, and a group whose captions cannot differ stays as it is.
    """
    if kind == "shuffled":
        return [captions[giver] for giver in shuffled(captions, share, seed)]
    if kind == "in-group":
        return _within_groups(captions, share, seed, groups)
    rng = np.random.default_rng(seed)
    changed = list(captions)
    words = [word for some in captions for caption in some for word in caption.split()]
    for row in rng.permutation(len(captions))[: round(share * len(captions))].tolist():
        changed[row] = tuple(_spoilt(caption, kind, words, rng) for caption in captions[row])
    return changed


def _within_groups(captions: Sequence[Captions], share: float, seed: int, groups: Sequence[str]) -> list[Captions]:
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    changed = list(captions)
    for number, group in enumerate(sorted(members)):
        rows = members[group]
        try:
            order = shuffled([captions[row] for row in rows], share, seed + number)
        except UserError:
            continue
        for row, giver in zip(rows, order, strict=True):
            changed[row] = captions[rows[giver]]
    return changed


def _spoilt(caption: str, kind: NoiseKind, words: Sequence[str], rng: np.random.Generator) -> str:
    """``caption`` replaced by a generic one, or with one of its words replaced by one of ``words``."""
    own = caption.split()
    place = int(rng.integers(max(1, len(own))))
    for _ in range(_ATTEMPTS):
        if kind == "generic":
            found = GENERIC[int(rng.integers(len(GENERIC)))]
        else:
            found = " ".join([*own[:place], words[int(rng.integers(len(words)))], *own[place + 1 :]])
        if found != caption:
            return found
    return caption


def shuffled(captions: Sequence[Captions], share: float, seed: int) -> list[int]:
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
    captions: Sequence[Captions],
    wrong: Sequence[bool],
    rows: Sequence[int],
) -> None:
    labels = [name for name in source.label_names if name != COLUMN]
    cells = {row: [*labels_of(source.rows[row], labels), int(wrong[row])] for row in rows}
    pairs = ((names[row], caption, cells[row]) for row in rows for caption in captions[row])
    write_whole(path, manifest(pairs, [*labels, COLUMN]))
