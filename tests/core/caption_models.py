"""A small CoCa saved as open_clip saves one: real words, weights of a few megabytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from core.model.towers.towers import build_towers

WORDS = 49408
TEXT = {"context_length": 16, "vocab_size": WORDS, "width": 16, "heads": 2, "layers": 1}
COCA: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8, "attentional_pool": True,
        "attn_pooler_heads": 2, "attn_pooler_queries": 4, "output_tokens": True,
    },
    "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": TEXT,
    "custom_text": True,
}  # fmt: skip
CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": TEXT,
}


def save_model(folder: Path, model_cfg: dict[str, Any] = COCA, seed: int = 0) -> Path:
    """A folder with ``open_clip_config.json`` and random weights whose captions differ from image to image."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    towers = build_towers(model_cfg)
    with torch.no_grad():
        for name, parameter in towers.clip.named_parameters():
            if "out_proj.weight" in name or "c_proj.weight" in name or "positional_embedding" in name:
                parameter.mul_(8)
            if "text_projection" in name:
                parameter.mul_(4)
    state = {name: value.contiguous().clone() for name, value in towers.clip.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg}), encoding="utf-8")
    return folder
