"""Which preset pays, for so many pairs, so much time and captions that are right or wrong; and why. No torch.

Flow: ``python -m core presets --pairs N --epochs E`` prints ``choose``; Define shows ``better`` beside the form.

Time is counted in passes over the data that clip would make in it, so that it holds on any machine: where a step of
sd-clip takes 1.47 times as long, its E epochs take the time of 1.47 E. What is known is from one set of 2,555 pairs
(OpenMoji, ``sd-demo``), at equal time on one core; docs/results.md has the figures. Right captions: clip with label
smoothing retrieves better than sd-clip with the same at 33 passes (one seed, validation data), at 86 and at 244 (three
fresh seeds, test data: ``study clean-time --published``; zero-shot is too uneven to tell), where sd-clip is ahead on
concepts never seen; with neither clip is behind at 86, and sd-clip-every-step was ahead of such a clip at 265. 30 %
wrong captions, five seeds at 12 and at 33 passes: sd-clip-lean, and clip with its own trust, are ahead of clip by 9
points R@1 or more, and not apart; of a clip that was tuned for it by 8 at 33, and by 27 where pairs are left out
beforehand, with a teacher or without (``study noisy-time --published``); all of it on one draw of the noise, and by an
earlier filter (``study noisy-draws`` draws the noise anew for each seed). Captions: sd-coca-lean with its memory
softened against coca, on right ones, at the time of 16 and 42 passes of coca.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.spec.config import RunConfig

KNOWN = 244  # passes of clip in the longest time in which clip with label smoothing was compared with sd-clip
BEFOREHAND = "belief.prior=words"
SMOOTHING = "objectives.contrastive.label_smoothing=0.3"
SOFTENED = "objectives.distill_similarity.temperature=4"  # of the memory
COST, COST_EVERY_STEP = 1.47, 3.2  # a step of sd-clip and of sd-clip-every-step, in those of clip
_KNOWN = "it was measured on 2,555 pairs, with few seeds; yours are {:,}"


@dataclass(frozen=True)
class Choice:
    """A preset and the reason for it."""

    preset: str
    reason: str


def choose(pairs: int, passes: float, wrong_captions: bool = False, pretrained: bool = False) -> Choice:
    """What to train on ``pairs`` pairs in the time of ``passes`` passes of clip over them, or to fine-tune on them."""
    known = _KNOWN.format(pairs)
    if pretrained:
        return _to_adapt(pairs, wrong_captions)
    if wrong_captions:
        return Choice(
            "sd-clip-lean",
            f"Where many captions are wrong, set {BEFOREHAND}, which leaves out what looks wrong from the start, "
            f"half the learning rate and {SMOOTHING}: that gained more than twice what trust alone did. Trust, "
            "which this preset has (sd-coca-lean where captions are to be written), costs next to nothing. clip with "
            "the same settings and belief.trust=0.5 belief.trust_by=student retrieved as well or a little better, and "
            f"could not be told from it in zero-shot ({known}).",
        )
    longer = "" if passes <= KNOWN else " Of more passes nothing is known."
    return Choice(
        "clip",
        f"With {SMOOTHING}, which the preset does not set, it retrieved better than sd-clip with the same, whose "
        f"step takes {COST} times as long, in the time of 33, 86 and {KNOWN} passes over right captions; at {KNOWN} "
        "sd-clip was ahead on concepts never seen, and else the two could not be told apart on these or in zero-shot "
        f"({known}).{longer} sd-clip-lean with {SOFTENED} was level with it in the time of 33. Where captions are to "
        "be written: sd-coca-lean with the same wrote better ones than coca as it comes in the same time, and "
        f"retrieved as well or better; coca with {SMOOTHING} wrote nearly as good ones, and retrieved less.",
    )


def _to_adapt(pairs: int, wrong_captions: bool) -> Choice:
    """What fine-tunes a pretrained model."""
    noise = (
        " With 40 % mismatched captions both gained less, and the difference in what they retained was about 15 points."
        if wrong_captions
        else ""
    )
    return Choice(
        "sd-clip-adapt",
        "Features of the initial weights keep the model from forgetting, and interpolating it with them afterwards "
        "(`sdgui-core interpolate RUN --keep 0.95`) chooses how much. In a pilot on 1,200 images by another artist, "
        "distilled features and interpolation retained 72 to 75 % where interpolation alone retained 50 to 57 %, at "
        f"the same gain (three seeds; features told apart by contrast).{noise} Name data to retain in data.retain. "
        "Use the label smoothing that the pretrained model was trained with (open_clip: 0). sd-coca-adapt does the "
        f"same where captions are to be written; nothing was measured of it, nor of {pairs:,} pairs.",
    )


def better(config: RunConfig, pairs: int) -> str:
    """Why clip would pay for the time that ``config`` takes, as a sentence; "" where nobody knows that it would.

    Of other presets than those two nothing is known; which of them it is, tells the teacher: configs are kept.
    """
    if config.preset not in ("sd-clip", "sd-clip-every-step") or pairs < 1:
        return ""
    cost = COST_EVERY_STEP if config.teacher.every == 1 else COST
    passes = cost * config.optim.epochs
    if passes > KNOWN:
        return ""
    return (
        f"In the time of these {config.optim.epochs:g} epochs, clip makes about {passes:.0f}. With label smoothing of "
        f"0.3 in both it retrieved better than sd-clip where captions are right, on 2,555 pairs, in the time of 33, 86 "
        f"and {KNOWN}, where sd-clip was ahead on concepts never seen; where many are wrong, sd-clip-lean does."
    )
