"""Which preset pays, for so many pairs, so much time and captions that are right or wrong; and why. No torch.

Flow: ``python -m core presets --pairs N --epochs E`` prints ``choose``; Define shows ``better`` beside the form.

Time is counted in passes over the data that clip would make in it, so that it holds on any machine: where a step of
sd-clip takes three times as long, its E epochs take the time of 3 E. Measured on 2,555 pairs (OpenMoji, ``sd-demo``) at
equal time: on right captions clip is ahead by 14 points R@1 at 33 passes, even at 94 (two seeds), and behind at 265.
Where 30 % of the captions are wrong, weighing pairs by trust is ahead from the shortest time on that was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.spec.config import RunConfig

EVEN = 94  # passes of clip in the time in which sd-clip comes level with it on right captions
COSTS = {"sd-clip": 3.1, "sd-coca": 2.8}  # a step, in those of the baseline
BASELINES = {"sd-clip": "clip", "sd-coca": "coca"}


@dataclass(frozen=True)
class Choice:
    """A preset and the reason for it."""

    preset: str
    reason: str


def choose(pairs: int, passes: float, wrong_captions: bool = False) -> Choice:
    """What to train on ``pairs`` pairs in the time of ``passes`` passes of clip over them."""
    measured = f"{pairs:,} pairs; it was measured on 2,555"
    if wrong_captions:
        return Choice(
            "sd-clip-lean",
            "Where many captions are wrong, weighing each pair by trust costs next to nothing and gains most at any "
            f"time that was measured, 80 to 230 s of the demo ({measured}).",
        )
    if passes < EVEN:
        return Choice(
            "clip",
            f"In the time of {passes:g} passes over the data, clip learns more from right captions: sd-clip, whose "
            f"step takes about three times as long, comes level at about {EVEN} ({measured}).",
        )
    return Choice(
        "sd-clip",
        f"The data are the limit after {passes:g} passes: from about {EVEN} on, what sd-clip's interpolated views "
        f"teach carries over to new concepts, and it gains with time ({measured}).",
    )


def better(config: RunConfig, pairs: int) -> str:
    """Why another preset would pay for the time that ``config`` takes, as a sentence; "" where none would."""
    cost = COSTS.get(config.preset)
    if cost is None or pairs < 1:
        return ""
    passes = cost * config.optim.epochs
    if passes >= EVEN:
        return ""
    baseline = BASELINES[config.preset]
    longer = round(EVEN / cost)
    lean = "; where many are wrong, sd-clip-lean does" if baseline == "clip" else ""
    return (
        f"In the time of these {config.optim.epochs:g} epochs, {baseline} makes about {passes:.0f}. Up to about {EVEN} "
        f"it learns more from right captions{lean}. Train for {longer} epochs or more, or choose {baseline}."
    )
