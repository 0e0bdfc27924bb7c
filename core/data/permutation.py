"""A shuffled order of n things without a list of them: where each stands is computed when it is asked for.

Flow: ``core.data.orders`` asks for a few positions of an epoch at a time. A list of a hundred million rows would take
800 MB and seconds to shuffle, in each process.

It is a Feistel network over the pairs (x // b, x % b) with a b just above n, so that each round is undone by the same
round and the whole is one to one (Luby and Rackoff 1988); what falls on n or above goes through it again, until it does
not (cycle walking, Black and Rogaway 2002).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.data.draws import Integers, hashes

ROUNDS = 8

Positions = npt.NDArray[np.int64]


def permuted(positions: Positions, size: Integers, *keys: Integers) -> Positions:
    """Where each of ``positions`` (n,) stands in a random order of 0 to ``size - 1`` that ``keys`` choose; (n,).

    ``size`` and the keys are one for all, or one for each position, which must be below its size.
    """
    sizes = np.broadcast_to(np.asarray(size, np.int64), positions.shape)
    rows = np.ceil(np.sqrt(sizes)).astype(np.int64)  # a
    columns = -(-sizes // rows)  # b, so that a b is n or a little more
    found = positions.astype(np.int64)
    waiting = np.arange(len(positions))
    while len(waiting):
        chosen = tuple(key if isinstance(key, int) else np.broadcast_to(key, positions.shape)[waiting] for key in keys)
        found[waiting] = _once(found[waiting], rows[waiting], columns[waiting], chosen)
        waiting = waiting[found[waiting] >= sizes[waiting]]
    return found


def _once(positions: Positions, rows: Positions, columns: Positions, keys: tuple[Integers, ...]) -> Positions:
    left, right = positions // columns, positions % columns
    for number in range(0, ROUNDS, 2):
        left = (left + _below(rows, right, number, keys)) % rows
        right = (right + _below(columns, left, number + 1, keys)) % columns
    return left * columns + right


def _below(limits: Positions, other: Positions, number: int, keys: tuple[Integers, ...]) -> Positions:
    return (hashes(*keys, number, other) % limits.astype(np.uint64)).astype(np.int64)
