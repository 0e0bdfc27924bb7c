"""Which preset pays, for so many pairs, so much time and captions that are right or wrong; and why. No torch.

Flow: ``python -m core presets --pairs N --epochs E`` prints ``choose``; Define shows ``better`` beside the form.

Time is counted in passes over the data that clip would make in it, so that it holds on any machine: where a step of
sd-clip takes 1.44 times as long, its E epochs take the time of 1.44 E. What is known is from one set of 2,555 pairs
(OpenMoji, ``sd-demo``), at equal time on one core. Right captions: clip is ahead of sd-clip by 6 points R@1 at 12
passes (one seed, validation data) and behind by 4.7 (3.6 to 5.9) at 86 (five fresh seeds, test data: ``study
clean-time --published``). Of sd-clip-every-step it is ahead by 14 at 33 passes, even at 94, and behind by 1 at 265
(one seed or two). 30 % wrong captions, five seeds at 12 and at 33 passes: sd-clip-lean, and clip with its own trust,
are ahead of clip by 9 points or more, and not apart; of a clip that was tuned for it by 8 at 33 (``study noisy-time
--published``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.spec.config import RunConfig

BEHIND, AHEAD = 12, 86  # passes of clip in the times in which sd-clip was measured to be behind and ahead of it
EVEN = 36  # between these, where a difference that changes linearly with the logarithm of time is 0
EVEN_EVERY_STEP = 94  # passes of clip in the time in which sd-clip-every-step comes level with it
COST, COST_EVERY_STEP = 1.44, 3.2  # a step of each, in those of clip
_KNOWN = "it was measured on 2,555 pairs, with few seeds; yours are {:,}"


@dataclass(frozen=True)
class Choice:
    """A preset and the reason for it."""

    preset: str
    reason: str


def choose(pairs: int, passes: float, wrong_captions: bool = False) -> Choice:
    """What to train on ``pairs`` pairs in the time of ``passes`` passes of clip over them."""
    known = _KNOWN.format(pairs)
    if wrong_captions:
        return Choice(
            "sd-clip-lean",
            "Where many captions are wrong, weighing each pair by trust costs next to nothing and gains most. clip "
            "with belief.trust=0.5 belief.trust_by=student has nearly all of that gain too; clip with half the "
            f"learning rate and objectives.contrastive.label_smoothing=0.5 has more than half of it ({known}).",
        )
    if passes < EVEN:
        return Choice(
            "clip",
            f"In the time of {passes:g} passes over the data, clip learns more from right captions: sd-clip, whose "
            f"step takes {COST} times as long, was behind at {BEHIND} and ahead at {AHEAD}, level at about {EVEN} by "
            f"interpolation ({known}).",
        )
    return Choice(
        "sd-clip",
        f"In the time of {passes:g} passes over the data, sd-clip learns more from right captions: it was behind clip "
        f"at {BEHIND} and ahead at {AHEAD}, level at about {EVEN} by interpolation ({known}).",
    )


def better(config: RunConfig, pairs: int) -> str:
    """Why clip would pay for the time that ``config`` takes, as a sentence; "" where it would not.

    Of other presets than those two nothing is known; which of them it is, tells the teacher: definitions are kept.
    """
    if config.preset not in ("sd-clip", "sd-clip-every-step") or pairs < 1:
        return ""
    cost, most = (COST_EVERY_STEP, EVEN_EVERY_STEP) if config.teacher.every == 1 else (COST, EVEN)
    passes = cost * config.optim.epochs
    if passes >= most:
        return ""
    return (
        f"In the time of these {config.optim.epochs:g} epochs, clip makes about {passes:.0f}. Up to about {most} it "
        f"learned more from right captions, on 2,555 pairs; where many are wrong, sd-clip-lean does. "
        f"Train for {math.ceil(most / cost)} epochs or more, or choose clip."
    )
