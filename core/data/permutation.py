"""A random permutation of n items that needs no list: each position is computed on demand.

Flow: ``core.data.orders`` requests a few positions of an epoch at a time. A list of a hundred million rows would need
800 MB, and seconds to shuffle, in each process.

The permutation is a Feistel network over the pairs (x // b, x % b), with 0 <= x < a * b for an a and b with a * b >= n.
Each round is invertible, so that all rounds together are a bijection (Luby and Rackoff 1988). Values of n or above are
mapped again until they are below n (cycle walking, Black and Rogaway 2002).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.data.draws import Integers, hashes

ROUNDS = 8

Positions = npt.NDArray[np.int64]


def permute_positions(positions: Positions, size: Integers, *keys: Integers) -> Positions:
    """``positions`` (n,) mapped by a random permutation of 0 to ``size - 1``, seeded by ``keys``; (n,).

    ``size`` and each key are a single number, or one number per position. Each position must be below its size.
    """
    sizes = np.broadcast_to(np.asarray(size, np.int64), positions.shape)
    rows = np.ceil(np.sqrt(sizes)).astype(np.int64)  # a
    columns = -(-sizes // rows)  # b, so that a * b is n or a little more
    result = positions.astype(np.int64)
    waiting = np.arange(len(positions))
    while len(waiting):
        round_keys = tuple(
            key if isinstance(key, int) else np.broadcast_to(key, positions.shape)[waiting] for key in keys
        )
        result[waiting] = _permute_once(result[waiting], rows[waiting], columns[waiting], round_keys)
        waiting = waiting[result[waiting] >= sizes[waiting]]
    return result


def _permute_once(positions: Positions, rows: Positions, columns: Positions, keys: tuple[Integers, ...]) -> Positions:
    x, y = positions // columns, positions % columns
    for number in range(0, ROUNDS, 2):
        x = (x + _draw_below(rows, y, number, keys)) % rows
        y = (y + _draw_below(columns, x, number + 1, keys)) % columns
    return x * columns + y


def _draw_below(limits: Positions, inputs: Positions, number: int, keys: tuple[Integers, ...]) -> Positions:
    return (hashes(*keys, number, inputs) % limits.astype(np.uint64)).astype(np.int64)
