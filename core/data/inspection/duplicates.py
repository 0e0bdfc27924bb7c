"""Duplicates among images: the same bytes, or nearly the same image (resized, compressed anew, touched up).

Flow: ``Signatures`` -> ``duplicates`` -> groups of positions; ``core.data.inspection.leaks`` asks which groups span
splits.

Two images are near duplicates where their hashes differ in at most `BITS` of 64 bits, and no pixel of their tiny
copies by more than `LEVELS`. Hashes that differ in so few bits agree in one of ``BITS + 1`` bands (the pigeonhole
principle of Norouzi et al. 2012), so only those that share a band are compared, and every pair is found; of more than
`LARGEST` that share one, which flat images may, each is compared with those alone that follow it by hash.

Legend: N images, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core.data.inspection.signatures import Entries, Signatures

BITS = 4
LEVELS = 12  # of 255, a mean over the colours of a pixel
LARGEST = 4096  # images of one band that are all compared; of more each with so many that follow by hash
_WIDTHS = [13, 13, 13, 13, 12]  # of the bands, together 64 bits

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Duplicates:
    """Groups of two positions or more, each ascending. A group of ``near`` is not one of ``exact``."""

    exact: list[list[int]]
    near: list[list[int]]


def duplicates(signatures: Signatures) -> Duplicates:
    """The groups among ``signatures``. Of images with the same bytes the first stands for all in ``near``."""
    entries = signatures.entries
    readable = np.flatnonzero(entries["readable"])
    digests = np.ascontiguousarray(entries["digest"][readable]).view("V16").ravel()
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    exact = _groups(readable, which)
    distinct = readable[np.sort(first)]
    left, right = near_pairs(entries[distinct])
    count = len(distinct)
    graph = coo_array((np.ones(len(left), bool), (left, right)), shape=(count, count))
    near = _groups(distinct, connected_components(graph, directed=False)[1]) if count else []
    return Duplicates(exact, near)


def near_pairs(entries: Entries) -> tuple[Positions, Positions]:
    """Positions (M,) and (M,) of the pairs of ``entries`` that are nearly the same; a pair may come twice."""
    hashes, found = entries["hash"], [(np.empty(0, np.int64), np.empty(0, np.int64))]
    tiny = entries["tiny"]
    shift = 0
    for width in _WIDTHS:
        band = (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        shift += width
        order = np.lexsort((hashes, band))
        ends = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, ends):
            found.append(_close(bucket, hashes, tiny))
    return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])


def _close(bucket: Positions, hashes: Entries, tiny: Entries) -> tuple[Positions, Positions]:
    """The pairs within ``bucket``, positions that share a band."""
    lefts, rights = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(len(bucket) - 1):
        here, others = bucket[start], bucket[start + 1 : start + 1 + LARGEST]
        others = others[bit_counts(hashes[others] ^ hashes[here]) <= BITS]
        if len(others):
            apart = np.abs(tiny[others].astype(np.int16) - tiny[here].astype(np.int16)).mean(-1)  # (m, SIDE, SIDE)
            others = others[apart.max((1, 2)) <= LEVELS]
            lefts.append(np.full(len(others), here, np.int64))
            rights.append(others)
    return np.concatenate(lefts), np.concatenate(rights)


def bit_counts(values: npt.NDArray[np.uint64]) -> Positions:
    """(n,) how many bits are set in each of ``values`` (n,)."""
    eight = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), 8)
    counts: Positions = _BITS_OF_BYTE[eight].sum(1)
    return counts


_BITS_OF_BYTE = np.array([bin(byte).count("1") for byte in range(256)], np.int64)


def _groups(positions: Positions, which: npt.NDArray[np.integer]) -> list[list[int]]:
    """``positions`` (n,) ascending by their group ``which`` (n,): groups of two or more, by their first member."""
    order = np.argsort(which, kind="stable")
    ends = np.flatnonzero(np.diff(which[order])) + 1
    found = [positions[part].tolist() for part in np.split(order, ends) if len(part) > 1]
    return sorted(found)
