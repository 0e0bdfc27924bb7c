"""Recommends a preset by number of pairs, compute, and clean or mismatched captions, with the reason. No torch.

Flow: ``python -m core presets --pairs N --epochs E`` prints ``choose``; Define shows ``better`` beside the form.

Compute is counted in epochs of clip, independent of the machine: a step of sd-clip costs 1.47 times as much, and
its E epochs cost 1.47 E. The evidence is from one data set of 2,555 pairs (OpenMoji, ``sd-demo``) at equal compute on
one core; docs/results.md has the figures and intervals. Clean captions: clip with label smoothing retrieves better than
sd-clip with the same at 33 epochs (one seed, validation data), 86 and 244 (three fresh seeds, test data: ``study
clean-time --published``; zero-shot varies too much to tell), where sd-clip is ahead on held-out concepts. 30 %
mismatched captions: self-confidence weighting brings 9 points R@1 over a tuned clip at 86 epochs, and the caption
filter 20 more, with a teacher or without (``study noisy-time --published``, one draw of the noise).
"""

from __future__ import annotations

from dataclasses import dataclass

from core.spec.config import RunConfig

KNOWN = 244  # epochs of clip in the longest comparison of clip with label smoothing and sd-clip
SMOOTHING = "objectives.contrastive.label_smoothing=0.3"
COST = 1.47  # of a step of sd-clip, in steps of clip
_EVIDENCE = "measured on 2,555 pairs with few seeds; you have {:,}"


@dataclass(frozen=True)
class Choice:
    """A preset and the reason for it."""

    preset: str
    reason: str


def choose(pairs: int, epochs: float, mismatched: bool = False, pretrained: bool = False) -> Choice:
    """The preset for ``pairs`` pairs with the compute of ``epochs`` epochs of clip, or for fine-tuning on them."""
    evidence = _EVIDENCE.format(pairs)
    if pretrained:
        return _to_adapt(pairs, mismatched)
    if mismatched:
        return Choice(
            "clip-filtered",
            "With many mismatched captions, dropping them before training helps most: 20 points R@1, in addition to "
            "9 points from self-confidence weighting. A teacher had no measurable further effect. For captioning, use "
            "the same settings with coca: noise.caption_filter=true noise.self_confidence=0.5 "
            f"{SMOOTHING} ({evidence}).",
        )
    longer = "" if epochs <= KNOWN else " Longer training was not measured."
    return Choice(
        "clip",
        f"With {SMOOTHING}, which the preset does not set, it retrieved better than sd-clip with the same, whose step "
        f"costs {COST} times as much, at the compute of 33, 86 and {KNOWN} epochs on clean captions; at {KNOWN} epochs "
        f"sd-clip was ahead on held-out concepts ({evidence}).{longer} For captioning: coca with {SMOOTHING}.",
    )


def _to_adapt(pairs: int, mismatched: bool) -> Choice:
    """The preset for fine-tuning a pretrained model."""
    noise = (
        " With 40 % mismatched captions, in a pilot, both gained less; what they retained differed by about 15 points."
        if mismatched
        else ""
    )
    return Choice(
        "sd-clip-adapt",
        "Distilling features of the initial weights prevents forgetting, and interpolating with them afterwards "
        "(`sdgui-core interpolate RUN --keep 0.95`) sets the balance. On 1,000 images by another artist, where 85 % "
        "was retained, it gained 14 points R@10 more than the best recipe without a teacher, interpolated too (one "
        f"base model, five seeds); in zero-shot classification it was not ahead.{noise} Name data to "
        "retain in data.retain. Use the label smoothing that the pretrained model was trained with (open_clip: 0). "
        f"sd-coca-adapt does the same for captioning; neither it nor {pairs:,} pairs were measured.",
    )


def better(config: RunConfig, pairs: int) -> str:
    """The reason to use clip with the compute of ``config`` instead; "" if unknown.

    Only sd-clip was compared with clip for long enough.
    """
    if config.preset != "sd-clip" or pairs < 1:
        return ""
    epochs = COST * config.optim.epochs
    if epochs > KNOWN:
        return ""
    return (
        f"With the compute of these {config.optim.epochs:g} epochs, clip trains about {epochs:.0f}. With label "
        "smoothing of 0.3 in both it retrieved better than sd-clip on clean captions, on 2,555 pairs, at 33, 86 and "
        f"{KNOWN} epochs of clip, where sd-clip was ahead on held-out concepts; on mismatched "
        "captions clip-filtered does."
    )
