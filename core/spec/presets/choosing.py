"""Recommends a preset, with the reason, from the number of pairs, the compute and the quality of captions. No torch.

Flow: ``python -m core presets --pairs N --epochs E`` prints ``choose``; *Define* shows ``why_clip_is_better``.

Compute is counted in epochs of clip, independent of the machine: a step of sd-clip costs 1.47 times as much, and
its E epochs cost 1.47 E. The evidence is from one data set of 2,555 pairs (OpenMoji, ``sd-demo``) at equal compute on
one core; docs/results.md has the figures and intervals.

Clean captions: at 33 epochs (one seed, validation data), 86 and 244 epochs (three fresh seeds, test data: ``study
clean-time --published``), clip with label smoothing retrieves better than sd-clip with label smoothing. At 244 epochs,
sd-clip is ahead on held-out concepts. Zero-shot accuracy varies too much to tell.

30 % mismatched captions: self-confidence weighting brings 9 points R@1 over a tuned clip at 86 epochs, and the caption
filter 20 more, with a teacher or without (``study noisy-time --published``, one draw of the noise).
"""

from __future__ import annotations

from dataclasses import dataclass

from core.spec.config import RunConfig

LONGEST = 244  # epochs of clip in the longest comparison of clip with label smoothing and sd-clip
SMOOTHING = "objectives.contrastive.label_smoothing=0.3"
COST = 1.47  # cost of a step of sd-clip, in steps of clip
_EVIDENCE = "measured on 2,555 pairs with few seeds; you have {:,} pairs"


@dataclass(frozen=True)
class Choice:
    """A preset and the reason for it."""

    preset: str
    reason: str


def choose(pairs: int, epochs: float, mismatched: bool = False, pretrained: bool = False) -> Choice:
    """The preset for ``pairs`` pairs with the compute of ``epochs`` epochs of clip, or for fine-tuning on the pairs."""
    evidence = _EVIDENCE.format(pairs)
    if pretrained:
        return _fine_tuning_choice(pairs, mismatched)
    if mismatched:
        return Choice(
            "clip-filtered",
            "With many mismatched captions, dropping them before training helps most: 20 points R@1, in addition to "
            "9 points from self-confidence weighting. A teacher had no additional measurable effect. For captioning, "
            "use coca with the same settings: noise.caption_filter=true noise.self_confidence=0.5 "
            f"{SMOOTHING} ({evidence}).",
        )
    longer = "" if epochs <= LONGEST else " Longer training was not measured."
    return Choice(
        "clip",
        f"With {SMOOTHING}, which the preset does not set, clip retrieved better than sd-clip with the same smoothing "
        f"at equal compute (33, 86 and {LONGEST} epochs of clip) on clean captions; a step of sd-clip costs {COST} "
        f"times as much. At {LONGEST} epochs, sd-clip was ahead on held-out concepts ({evidence}).{longer} For "
        f"captioning, use coca with {SMOOTHING}.",
    )


def _fine_tuning_choice(pairs: int, mismatched: bool) -> Choice:
    """The preset for fine-tuning a pretrained model."""
    noise = (
        " With 40 % mismatched captions and the caption filter in both recipes, the difference was 6 points; set "
        "noise.caption_filter=true."
        if mismatched
        else ""
    )
    measured_pairs = (200, 1000, 2900)
    unmeasured = (
        "Captioning was not measured."
        if pairs in measured_pairs
        else f"Neither captioning nor {pairs:,} pairs were measured."
    )
    return Choice(
        "sd-clip-adapt",
        "Distilling features of the initial weights prevents forgetting, and interpolating with them afterwards "
        "(`sdgui-core interpolate RUN --keep 0.95`) sets the balance. On 1,000 images by another artist, at 85 % "
        "retention, sd-clip-adapt gained 10 points R@10 more than the best recipe without a teacher, which was "
        "interpolated too (five base models), and on 2,900 images 16 points more; on 200 images, it gained as much and "
        "retained 15 points more at equal gain. In zero-shot classification it was no better. If you have images like "
        "those of pretraining (captions are not needed), set objectives.image_anchors.source to them, and "
        "objectives.image_anchors.weight and objectives.distill_features.weight to 1: with 1,000 images, this gained "
        "13 points more than the best recipe without a teacher. For zero-shot classification, also set "
        "objectives.text_anchors.source to the names of the old classes, with weight 3."
        f"{noise} If the images show new concepts and you have no such images, it is no better than plain fine-tuning: "
        "set objectives.distill_features.on=image, objectives.distill_features.weight=1, teacher.targets=pass and "
        "objectives.text_anchors.weight=3, with captions or names of what the model should keep in "
        "objectives.text_anchors.source (general: an included list of words). Set data.retain to data that the "
        "model should still retrieve. Use the label smoothing that the pretrained model was trained with "
        f"(open_clip: 0). For captioning, use sd-coca-adapt. {unmeasured}",
    )


def why_clip_is_better(config: RunConfig, pairs: int) -> str:
    """Why clip would be better than the preset of ``config`` with the same compute; "" if unknown.

    Only sd-clip was compared with clip for long enough.
    """
    if config.preset != "sd-clip" or pairs < 1:
        return ""
    epochs = COST * config.optim.epochs
    if epochs > LONGEST:
        return ""
    return (
        f"With the same compute, clip trains about {epochs:.0f} epochs instead of {config.optim.epochs:g}. With label "
        "smoothing of 0.3 in both, clip retrieved better on clean captions (2,555 pairs; 33, 86 and "
        f"{LONGEST} epochs of clip). At {LONGEST} epochs, sd-clip was ahead on held-out concepts. "
        "For mismatched captions, use clip-filtered."
    )
