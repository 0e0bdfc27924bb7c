"""Presets that fuse image and text: captioning, matching, masked words."""

from __future__ import annotations

from typing import Any

from core.spec.presets.preset import Preset, Size

# Matching and masked words without a contrastive loss, unless a system adds one.
NO_CONTRAST = {"contrastive": {"weight": 0.0}}


def coca_towers(size: Size) -> dict[str, Any]:
    """The CoCa architecture of a size."""
    return {"architecture": {"tiny": "sd-coca-tiny", "demo": "sd-coca-demo", "base": "coca_ViT-B-32"}[size]}


def _fusion(size: Size, kind: str, layers: int, **settings: Any) -> dict[str, Any]:
    """A fusion with the published number of ``layers`` at full size, and two or three at smaller sizes."""
    return {
        "kind": kind,
        "layers": {"tiny": min(2, layers), "demo": min(3, layers), "base": layers}[size],
        "heads": {"tiny": 2, "demo": 4, "base": 12}[size],
        "width": {"tiny": 32, "demo": 128, "base": 768}[size],
        **settings,
    }


def _optim(size: Size, learning_rate: float, weight_decay: float, batch_size: int, epochs: int = 0) -> dict[str, Any]:
    """The published values at full size; at smaller sizes, only the weight decay is the published value."""
    if size != "base":
        return {"weight_decay": weight_decay}
    length = {"epochs": epochs} if epochs else {}
    return {"learning_rate": learning_rate, "weight_decay": weight_decay, "batch_size": batch_size, **length}


def _momentum_teacher(size: Size) -> dict[str, Any]:
    """ALBEF's moving-average teacher: momentum 0.995, and less in a short run."""
    return {"kind": "ema", "momentum": {"tiny": 0.9, "demo": 0.98, "base": 0.995}[size]}


def _distorted_views(magnitude: int) -> dict[str, Any]:
    """ALBEF's views: student and teacher see the same distorted crop."""
    clean = {"crop_min": 0.5, "randaugment_ops": 2, "randaugment_magnitude": magnitude}
    return {"clean": clean, "teacher": {"count": 0}}


def _soft_contrast(size: Size, epochs: int, queue: int = 65536) -> dict[str, Any]:
    """ALBEF's contrastive loss: the teacher's share of the target rises to 0.4 in the first epoch; with a queue."""
    return {
        **NO_CONTRAST,
        "distill_similarity": {
            "weight": 1.0,
            "alpha": 0.4,
            "alpha_ramp": 1 / epochs,
            "queue": {"tiny": 32, "demo": 1024, "base": queue}[size],
        },
    }


def _coca(size: Size) -> dict[str, Any]:
    return {
        "towers": coca_towers(size),
        "objectives": {"contrastive": {"weight": 1.0}, "captioning": {"weight": 2.0}},
    }


def _uniter(size: Size) -> dict[str, Any]:
    return {
        "fusion": _fusion(size, "merged", 12, feed_forward="shared"),
        "objectives": {
            **NO_CONTRAST,
            "matching": {"weight": 1.0, "negatives": "random"},
            "masked_words": {"weight": 1.0, "rate": 0.15},
        },
        "optim": _optim(size, 5e-5, 0.01, 256),
    }


def _albef(size: Size) -> dict[str, Any]:
    epochs = 30
    return {
        "views": _distorted_views(7),
        "fusion": _fusion(size, "cross-attention", 6, text_attention=True),
        "teacher": _momentum_teacher(size),
        "objectives": {
            **_soft_contrast(size, epochs),
            "matching": {"weight": 1.0},
            "masked_words": {"weight": 1.0, "rate": 0.15, "alpha": 0.4, "alpha_ramp": 1 / epochs},
        },
        "optim": _optim(size, 1e-4, 0.02, 512, epochs),
    }


def _mplug(size: Size) -> dict[str, Any]:
    epochs = 30
    return {
        "views": _distorted_views(7),
        "fusion": _fusion(size, "skip", 6, merge_every=2 if size == "tiny" else 3),
        "teacher": _momentum_teacher(size),
        "objectives": {
            **_soft_contrast(size, epochs),
            "matching": {"weight": 1.0},
            "masked_words": {"weight": 1.0, "rate": 0.15},
            "captioning": {"weight": 1.0, "through": "fusion"},
        },
        "optim": _optim(size, 1e-4, 0.02, 1024, epochs),
    }


def _vlmo(size: Size) -> dict[str, Any]:
    return {
        "fusion": _fusion(size, "merged", 12, feed_forward="per-modality", joint_layers=1 if size == "tiny" else 2),
        "objectives": {
            "contrastive": {"weight": 1.0},
            "matching": {"weight": 1.0},
            "masked_words": {"weight": 1.0, "rate": 0.15},
        },
        "optim": _optim(size, 2e-4, 0.01, 1024),
    }


def _blip(size: Size) -> dict[str, Any]:
    epochs = 20
    return {
        "views": _distorted_views(5),
        "fusion": _fusion(size, "cross-attention", 12, text_attention=True),
        "teacher": _momentum_teacher(size),
        "objectives": {
            **_soft_contrast(size, epochs, queue=57600),
            "matching": {"weight": 1.0},
            "captioning": {"weight": 1.0, "through": "fusion", "label_smoothing": 0.1},
        },
        "optim": _optim(size, 3e-4, 0.05, 2880, epochs),
    }


def _blip2(size: Size) -> dict[str, Any]:
    towers: dict[str, Any] = {"freeze": "image"}
    if size == "base":
        towers |= {"architecture": "ViT-L-14-quickgelu", "pretrained": "openai"}
    return {
        "towers": towers,
        "fusion": _fusion(size, "queries", 12, queries={"tiny": 4, "demo": 16, "base": 32}[size]),
        "objectives": {
            "contrastive": {"weight": 1.0},
            "matching": {"weight": 1.0},
            "captioning": {"weight": 1.0, "through": "fusion"},
        },
        "optim": _optim(size, 1e-4, 0.05, 2320),
    }


def _beit3(size: Size) -> dict[str, Any]:
    return {
        "views": {
            "student": {"count": 1, "crop_min": 0.5, "mask": 1.0, "mask_share": 0.4},
            "shared": True,
        },
        "fusion": _fusion(size, "merged", 12, feed_forward="per-modality", joint_layers=1 if size == "tiny" else 3),
        "teacher": {"kind": "ema", "momentum": {"tiny": 0.9, "demo": 0.98, "base": 0.999}[size]},
        "objectives": {
            **NO_CONTRAST,
            "masked_words": {"weight": 1.0, "rate": 0.5},
            "masked_patches": {"weight": 1.0, "prototypes": {"tiny": 64, "demo": 1024, "base": 8192}[size]},
        },
        "optim": _optim(size, 1e-3, 0.05, 6144),
    }


PAIRS = (
    Preset(
        "coca",
        "CoCa",
        "Two towers and a decoder that predicts the caption word by word, attending to the image through "
        "attentional pooling. CoCa is trained by the contrastive loss and, with twice the weight, by next-word cross-"
        "entropy, in one pass. The baseline of all captioning presets.",
        "Yu et al. 2022, CoCa: Contrastive captioners are image-text foundation models",
        _coca,
    ),
    Preset(
        "uniter",
        "UNITER",
        "Patches and words attend to each other as one sequence. UNITER learns to predict 15 % of the words, and to "
        "distinguish true pairs from random pairs. Here, the sequence starts from two towers instead of detected "
        "regions, without the objectives on regions. There is no contrastive loss; retrieval uses the matching head.",
        "Chen et al. 2020, UNITER: Universal image-text representation learning",
        _uniter,
    ),
    Preset(
        "albef",
        "ALBEF",
        "Align before fuse. The towers are aligned by a contrastive loss with soft targets from a moving-average "
        "teacher (0.4, momentum 0.995) and a queue. Then words attend to patches, to distinguish true pairs from hard "
        "negatives and to predict 15 % of the words, also with soft targets.",
        "Li et al. 2021, Align before fuse: Vision and language representation learning with momentum distillation",
        _albef,
    ),
    Preset(
        "mplug",
        "mPLUG",
        "Words attend to patches, which skip most layers; every third layer merges both, so that the long visual "
        "sequence costs little. The objectives are contrastive loss and matching as in ALBEF, masked words, and a "
        "language model with the image as its prefix (published: the image and the beginning of the caption).",
        "Li et al. 2022, mPLUG: Effective and efficient vision-language learning by cross-modal skip-connections",
        _mplug,
    ),
    Preset(
        "vlmo",
        "VLMo",
        "One self-attention for both modalities, and one feed-forward per modality, shared in the last layers. The "
        "objectives are contrastive loss, matching with hard negatives, and 15 % masked words. The published system is "
        "trained in stages: images, then text, then pairs.",
        "Bao et al. 2022, VLMo: Unified vision-language pre-training with mixture-of-modality-experts",
        _vlmo,
    ),
    Preset(
        "blip",
        "BLIP",
        "Contrastive loss with soft targets, matching with hard negatives, and a language model on the same weights "
        "with a causal mask. As a chain, the trained model captions its images and filters captions by its matching "
        "head; a new model is trained on the remaining captions. Here, the language model also shares its self-"
        "attention.",
        "Li et al. 2022, BLIP: Bootstrapping language-image pre-training for unified understanding and generation",
        _blip,
    ),
    Preset(
        "blip2",
        "BLIP-2",
        "The image tower is frozen; 32 learnt queries attend to the image in every second layer, and to the words in "
        "self-attention. This is the first of BLIP-2's two stages: contrastive loss, matching and generation. It needs "
        "a trained image tower in towers.pretrained. Here, the contrastive loss is between the towers, not the queries."
        "",
        "Li et al. 2023, BLIP-2: Bootstrapping language-image pre-training with frozen image encoders and large "
        "language models",
        _blip2,
    ),
    Preset(
        "beit3",
        "BEiT-3",
        "Masked data modelling only. 40 % of the patches and 50 % of the words of a pair are masked and predicted by "
        "one multiway network with one feed-forward per modality. The targets for patches are the prototypes of a "
        "moving-average teacher; the published system uses a frozen tokenizer.",
        "Wang et al. 2023, Image as a foreign language: BEiT pretraining for vision and vision-language tasks",
        _beit3,
    ),
)
