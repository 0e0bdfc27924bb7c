"""Duplicates among images: the same bytes, or nearly the same image (resized, recompressed, retouched).

Flow: ``Signatures`` -> ``duplicates`` -> groups of positions; ``core.data.inspection.leaks`` finds groups that span
splits.

Two images are near duplicates if their hashes differ in at most `MAX_HASH_DISTANCE` of 64 bits, and each pixel of their
tiny copies differs by at most `MAX_PIXEL_DISTANCE`. Such hashes agree in one of ``MAX_HASH_DISTANCE + 1`` bands
(pigeonhole principle; Norouzi et al. 2012), so comparing images that share a band finds every pair. In a band with more
than `MAX_COMPARISONS` images (flat images), each image is compared only with the next `MAX_COMPARISONS` in order of
hash.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core.data.inspection.signatures import Entries, Signatures
from core.spec.reporter import Progress

MAX_HASH_DISTANCE = 4  # number of bits, of 64, in which hashes may differ
MAX_PIXEL_DISTANCE = 12  # mean difference of a pixel's three colours, which are 0 to 255
MAX_COMPARISONS = 4096  # each image is compared with at most this many images of a band
REPORT_EVERY = 200  # images compared between two progress reports
_BAND_BITS = [13, 13, 13, 13, 12]  # widths of the bands; together 64 bits

_ACTIVITY = "finding near duplicates"

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Duplicates:
    """Groups of two or more positions, each ascending. No group is in both ``near`` and ``exact``."""

    exact: list[list[int]]
    near: list[list[int]]


def duplicates(signatures: Signatures, progress: Progress) -> Duplicates:
    """The groups among ``signatures``. In ``near``, the first of several identical files represents the others.

    ``progress`` may raise to cancel.
    """
    entries = signatures.entries
    readable = np.flatnonzero(entries["readable"])
    digests = np.ascontiguousarray(entries["digest"][readable]).view("V16").ravel()
    _, first, digest_numbers = np.unique(digests, return_index=True, return_inverse=True)
    exact = _groups(readable, digest_numbers)
    distinct = readable[np.sort(first)]
    firsts, seconds = near_pairs(entries[distinct], progress)
    count = len(distinct)
    graph = coo_array((np.ones(len(firsts), bool), (firsts, seconds)), shape=(count, count))
    near_groups = _groups(distinct, connected_components(graph, directed=False)[1]) if count else []
    return Duplicates(exact, near_groups)


def near_pairs(entries: Entries, progress: Progress) -> tuple[Positions, Positions]:
    """Positions (M,) and (M,) of the pairs of ``entries`` that are near duplicates; a pair may occur twice."""
    hashes, pairs = entries["hash"], [(np.empty(0, np.int64), np.empty(0, np.int64))]
    tiny = entries["tiny"]
    shift, total = 0, len(_BAND_BITS) * len(entries)
    for number, width in enumerate(_BAND_BITS):
        done = number * len(entries)
        progress(_ACTIVITY, done, total)
        band = (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        shift += width
        order = np.lexsort((hashes, band))
        ends = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, ends):
            for start in range(0, len(bucket) - 1, REPORT_EVERY):
                if start:
                    progress(_ACTIVITY, done + start, total)
                pairs.append(_near_in_bucket(bucket[start:], hashes, tiny))
            done += len(bucket)
    return np.concatenate([firsts for firsts, _ in pairs]), np.concatenate([seconds for _, seconds in pairs])


def _near_in_bucket(bucket: Positions, hashes: Entries, tiny: Entries) -> tuple[Positions, Positions]:
    """The near duplicates of the first `REPORT_EVERY` positions in ``bucket``, which share a band, and later ones."""
    lefts, rights = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(min(len(bucket) - 1, REPORT_EVERY)):
        current, nearby = bucket[start], bucket[start + 1 : start + 1 + MAX_COMPARISONS]
        nearby = nearby[bit_counts(hashes[nearby] ^ hashes[current]) <= MAX_HASH_DISTANCE]
        if len(nearby):
            differences = np.abs(tiny[nearby].astype(np.int16) - tiny[current].astype(np.int16))  # (m, 8, 8, 3)
            nearby = nearby[differences.mean(-1).max((1, 2)) <= MAX_PIXEL_DISTANCE]
            lefts.append(np.full(len(nearby), current, np.int64))
            rights.append(nearby)
    return np.concatenate(lefts), np.concatenate(rights)


def bit_counts(values: npt.NDArray[np.uint64]) -> Positions:
    """The number of set bits of each of ``values`` (n,), as (n,)."""
    eight = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), 8)
    counts: Positions = _BITS_OF_BYTE[eight].sum(1)
    return counts


_BITS_OF_BYTE = np.array([bin(byte).count("1") for byte in range(256)], np.int64)


def _groups(positions: Positions, group_numbers: npt.NDArray[np.integer]) -> list[list[int]]:
    """Groups of two or more of ``positions`` (n,), by ``group_numbers`` (n,); sorted by first member."""
    order = np.argsort(group_numbers, kind="stable")
    ends = np.flatnonzero(np.diff(group_numbers[order])) + 1
    groups = [positions[part].tolist() for part in np.split(order, ends) if len(part) > 1]
    return sorted(groups)
