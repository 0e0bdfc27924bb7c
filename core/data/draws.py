"""Counter-based random numbers: each draw is a function of its keys alone (Salmon et al. 2011, the idea of Philox).

Flow: views and the loader draw crops, distortions, captions and orders with ``uniforms``. There is no generator state,
so a resumed run draws the same numbers, for any number of loader processes; torch's global state does not change.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64] | int
Floats = npt.NDArray[np.float64]

GAMMA = np.uint64(0x9E3779B97F4A7C15)
# Stream ids: the last key of each kind of draw of a view. An id is never reused for another kind.
CROP, FLIP, AUGMENT, ERASE, MASK, COLOUR, KEEP_PATCHES = range(7)


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al. 2014); arithmetic wraps around."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hashes(*keys: Integers) -> npt.NDArray[np.uint64]:
    """(n,) 64 bit hashes of keys that broadcast to (n,)."""
    state = np.zeros(1, np.uint64)
    for key in keys:
        values = np.atleast_1d(np.asarray(key, dtype=np.int64)).astype(np.uint64)
        state = _mix(state + (values + np.uint64(1)) * GAMMA)
    return state


def uniforms(count: int, *keys: Integers) -> Floats:
    """(n, count) numbers in [0, 1) for keys that broadcast to (n,)."""
    counters = np.arange(1, count + 1, dtype=np.uint64) * GAMMA
    bits = _mix(hashes(*keys)[:, None] + counters)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def seed_of(*keys: int) -> int:
    """A seed from 0 to 2**63 - 1, derived from ``keys``, for a separate generator."""
    return int(hashes(*keys)[0] >> np.uint64(1))
