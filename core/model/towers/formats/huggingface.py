"""Conversion between open_clip's CLIP and the CLIPModel of Hugging Face's transformers: configs and weight names.

Flow: ``core.exporting`` -> `to_clip_model` -> a folder that transformers opens. In the other direction, such a folder,
as starting point, teacher or model -> `from_clip_model` -> ``core.model.towers``. Neither needs the package
transformers.

The two classes are the same network (Radford et al. 2021) if the image's class token and the text's end token are
projected. Parts that CLIPModel lacks (attention pooling, a text decoder, a sigmoid's bias) raise ModelError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from core.model.errors import ModelError
from core.spec.reading import excerpt, read_json
from core.spec.run.model_names import HUGGING_FACE_CONFIG, MAX_CONFIG_BYTES

IMAGES_FILE = "preprocessor_config.json"
_BILINEAR, _BICUBIC = 2, 3  # numbers in Pillow and CLIPImageProcessor
_START, _END = 49406, 49407  # token ids in CLIP's vocabulary
_START_TOKEN, _END_TOKEN = "<|startoftext|>", "<|endoftext|>"
# Settings that both classes have; patch_dropout affects training only. All others must have open_clip's defaults.
_VISION_SETTINGS = ("image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size", "patch_dropout")
_TEXT_SETTINGS = ("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio")

# open_clip's name -> transformers' name; a trailing dot covers weight and bias
_COPIED_WEIGHTS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.": "vision_model.pre_layrnorm.",
    "visual.ln_post.": "vision_model.post_layernorm.",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.": "text_model.final_layer_norm.",
    "logit_scale": "logit_scale",
}
_TRANSPOSED_WEIGHTS = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_BLOCK_WEIGHTS = {
    "ln_1.": "layer_norm1.",
    "ln_2.": "layer_norm2.",
    "attn.out_proj.": "self_attn.out_proj.",
    "mlp.c_fc.": "mlp.fc1.",
    "mlp.c_proj.": "mlp.fc2.",
}
_STREAMS = {"visual.transformer.resblocks.": "vision_model.encoder.layers.",
            "transformer.resblocks.": "text_model.encoder.layers."}  # fmt: skip


def to_clip_model(
    model_cfg: Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """``config.json`` and weights of the CLIPModel that is equivalent to an open_clip CLIP of ``model_cfg``.

    Raises ModelError with the first part that CLIPModel lacks.
    """
    check_clip_model(model_cfg)
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        for theirs, part in _rename_weight(name, value):
            renamed[theirs] = part.contiguous()
    return _clip_config(model_cfg), renamed


def check_clip_model(model_cfg: Mapping[str, Any]) -> None:
    """Raise ModelError if the architecture ``model_cfg`` has a part that CLIPModel lacks."""
    supported_keys = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "preprocess_cfg"}
    unsupported = [name for name, value in model_cfg.items() if name not in supported_keys and value]
    for name, defaults, supported_fields in (
        ("vision_cfg", CLIPVisionCfg(), _VISION_SETTINGS),
        ("text_cfg", CLIPTextCfg(), _TEXT_SETTINGS),
    ):
        for field, value in model_cfg[name].items():
            if field not in supported_fields and value != getattr(defaults, field, None):
                unsupported.append(f"{name}.{field}")
    if not isinstance(model_cfg["vision_cfg"].get("layers", 12), int):
        unsupported.append("a ResNet")
    if unsupported:
        raise ModelError(
            f"transformers' CLIPModel does not support {unsupported[0]}; export an open_clip folder or ONNX."
        )


def _rename_weight(name: str, value: Tensor) -> list[tuple[str, Tensor]]:
    """CLIPModel's names and values for an entry of open_clip's state dict; a packed projection is split into three."""
    if name in _TRANSPOSED_WEIGHTS:
        return [(_TRANSPOSED_WEIGHTS[name], value.T)]
    for ours, theirs in _COPIED_WEIGHTS.items():
        if name == ours or (ours.endswith(".") and name in (f"{ours}weight", f"{ours}bias")):
            shaped = value.reshape(()) if name == "logit_scale" else value
            return [(theirs + name.removeprefix(ours), shaped)]
    for ours, theirs in _STREAMS.items():
        if name.startswith(ours):
            layer, _, part = name.removeprefix(ours).partition(".")
            return [(f"{theirs}{layer}.{block_name}", piece) for block_name, piece in _rename_block_weight(part, value)]
    raise ModelError(f"transformers' CLIPModel does not support {name}; export an open_clip folder or ONNX.")


def _rename_block_weight(part: str, value: Tensor) -> list[tuple[str, Tensor]]:
    if part.startswith("attn.in_proj_"):
        kind = part.removeprefix("attn.in_proj_")
        return [(f"self_attn.{letter}_proj.{kind}", piece) for letter, piece in zip("qkv", value.chunk(3), strict=True)]
    for ours, theirs in _BLOCK_WEIGHTS.items():
        if part.startswith(ours):
            return [(theirs + part.removeprefix(ours), value)]
    raise ModelError(f"transformers' CLIPModel does not support {part}; export an open_clip folder or ONNX.")


def _clip_config(model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
    act = "quick_gelu" if model_cfg.get("quick_gelu") else "gelu"
    width = int(vision["width"])
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": int(model_cfg["embed_dim"]),
        "torch_dtype": "float32",
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": width,
            "intermediate_size": int(width * vision.get("mlp_ratio", 4.0)),
            "num_hidden_layers": int(vision["layers"]),
            "num_attention_heads": width // int(vision.get("head_width", 64)),
            "image_size": int(vision["image_size"]),
            "patch_size": int(vision["patch_size"]),
            "hidden_act": act,
            "layer_norm_eps": 1e-5,
            "projection_dim": int(model_cfg["embed_dim"]),
        },
        "text_config": {
            "model_type": "clip_text_model",
            "hidden_size": int(text["width"]),
            "intermediate_size": int(text["width"] * text.get("mlp_ratio", 4.0)),
            "num_hidden_layers": int(text["layers"]),
            "num_attention_heads": int(text["heads"]),
            "max_position_embeddings": int(text.get("context_length", 77)),
            "vocab_size": int(text.get("vocab_size", 49408)),
            "hidden_act": act,
            "layer_norm_eps": 1e-5,
            "projection_dim": int(model_cfg["embed_dim"]),
            "bos_token_id": _START,
            "eos_token_id": _END,
            "pad_token_id": _END,
        },
    }


def _vocabulary(tokenizer: SimpleTokenizer) -> tuple[dict[str, int], list[str]]:
    """The ids of CLIP's tokens in transformers' spelling, and the merges in order."""
    ranks = tokenizer.bpe_ranks
    merges = [f"{first} {second}" for (first, second), _ in sorted(ranks.items(), key=lambda pair: pair[1])]
    ids = {
        name.replace("<start_of_text>", _START_TOKEN).replace("<end_of_text>", _END_TOKEN): number
        for name, number in tokenizer.encoder.items()
    }
    return ids, merges


def tokenizer_json(source: Any, context_length: int) -> dict[str, str]:
    """Files (name -> content) of the open_clip tokenizer ``source`` for the package tokenizers, without transformers.

    Captions are truncated and padded to ``context_length`` as in open_clip: CLIP pads with 0, which a CoCa masks. In
    contrast to open_clip, broken encodings and HTML entities are not repaired.
    """
    if not isinstance(source, SimpleTokenizer):
        backend = source.tokenizer.backend_tokenizer
        copied = type(backend).from_str(backend.to_str())
        copied.enable_truncation(context_length)
        pad = {"pad_id": source.tokenizer.pad_token_id, "pad_token": source.tokenizer.pad_token}
        copied.enable_padding(length=context_length, **pad)
        return {"tokenizer.json": copied.to_str()}
    vocabulary, merges = _vocabulary(source)
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokens = ((_START, _START_TOKEN), (_END, _END_TOKEN))
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    blanks = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    ends = {"sep": [_END_TOKEN, _END], "cls": [_START_TOKEN, _START], "add_prefix_space": False, "trim_offsets": False}
    padding = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": _END_TOKEN,
        "continuing_subword_prefix": "",
        "fuse_unk": False,
    }
    tokenizer = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": context_length, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": context_length}, **padding},
        "added_tokens": [{"id": number, "content": content, **special} for number, content in tokens],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, blanks, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": {"type": "RobertaProcessing", **ends},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {**model, "end_of_word_suffix": "</w>", "vocab": vocabulary, "merges": merges},
    }
    return {"tokenizer.json": json.dumps(tokenizer, ensure_ascii=False)}


def tokenizer_files(context_length: int) -> dict[str, str]:
    """Files (name -> content) of CLIP's tokenizer for transformers."""
    ids, merges = _vocabulary(SimpleTokenizer(context_length=context_length))
    marks = {"bos_token": _START_TOKEN, "eos_token": _END_TOKEN, "unk_token": _END_TOKEN, "pad_token": _END_TOKEN}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": context_length, "do_lower_case": True, **marks}
    return {
        "vocab.json": json.dumps(ids, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *merges]) + "\n",
        "tokenizer_config.json": json.dumps(settings, indent=2),
        "special_tokens_map.json": json.dumps(marks, indent=2),
    }


def read_clip_config(folder: Path) -> dict[str, Any]:
    """The open_clip configuration for a CLIPModel's folder. Raises ModelError if open_clip has no such architecture."""
    path = folder / HUGGING_FACE_CONFIG
    config = read_json(path, MAX_CONFIG_BYTES, error=ModelError)
    try:
        vision, text = config["vision_config"], config["text_config"]
        activations = {part.get("hidden_act", "quick_gelu") for part in (vision, text)}
        if unknown := sorted(activations - {"gelu", "quick_gelu"}):
            raise ModelError(
                f"{path} has the activation {excerpt(unknown[0])}, which open_clip does not support; choose a model "
                "with gelu or quick_gelu."
            )
        if len(activations) > 1:
            raise ModelError(
                f"{path} has gelu in one tower and quick_gelu in the other, but open_clip uses one activation for "
                "both; choose another model."
            )
        model_cfg: dict[str, Any] = {
            "embed_dim": int(config.get("projection_dim", 512)),
            "vision_cfg": {
                "image_size": int(vision.get("image_size", 224)),
                "layers": int(vision.get("num_hidden_layers", 12)),
                "width": (width := int(vision.get("hidden_size", 768))),
                "head_width": width // int(vision.get("num_attention_heads", 12)),
                "mlp_ratio": int(vision.get("intermediate_size", 3072)) / width,
                "patch_size": int(vision.get("patch_size", 32)),
            },
            "text_cfg": {
                "context_length": int(text.get("max_position_embeddings", 77)),
                "vocab_size": int(text.get("vocab_size", 49408)),
                "width": int(text.get("hidden_size", 512)),
                "heads": int(text.get("num_attention_heads", 8)),
                "layers": int(text.get("num_hidden_layers", 12)),
                "mlp_ratio": int(text.get("intermediate_size", 2048)) / int(text.get("hidden_size", 512)),
            },
        }
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise ModelError(f"{path} is not the configuration of a CLIPModel ({excerpt(str(error))}).") from error
    if "quick_gelu" in activations:
        model_cfg["quick_gelu"] = True
    return model_cfg | _read_preprocessing(folder)


def _read_preprocessing(folder: Path) -> dict[str, Any]:
    """The mean and deviation of colours, and the resizing, in the folder's preprocessing file, if there is one."""
    try:
        settings = read_json(folder / IMAGES_FILE, MAX_CONFIG_BYTES, error=ModelError)
        mean, std = ([float(value) for value in settings[name]] for name in ("image_mean", "image_std"))
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, ValueError) as error:
        path_text = excerpt(str(folder / IMAGES_FILE))
        raise ModelError(f"{path_text} has no image_mean and image_std of three colours.") from error
    interpolation = "bilinear" if settings.get("resample") == _BILINEAR else "bicubic"
    mode = "shortest" if settings.get("do_center_crop", True) else "squash"
    return {"preprocess_cfg": {"mean": mean, "std": std, "interpolation": interpolation, "resize_mode": mode}}


def preprocessing_files(
    model_cfg: Mapping[str, Any], mean: Sequence[float], std: Sequence[float], mode: str, interpolation: str
) -> dict[str, str]:
    """Files (name -> content) of transformers' image preprocessing for open_clip's ``mode`` and ``interpolation``."""
    side = int(model_cfg["vision_cfg"]["image_size"])
    crops = mode == "shortest"  # CLIPImageProcessor has no "longest"
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": side} if crops else {"height": side, "width": side},
        "resample": _BILINEAR if interpolation == "bilinear" else _BICUBIC,
        "do_center_crop": crops,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": list(mean),
        "image_std": list(std),
    }
    return {IMAGES_FILE: json.dumps(settings, indent=2) + "\n"}


def is_clip_model_state(state: Mapping[str, Tensor]) -> bool:
    """Whether the weights in ``state`` have a CLIPModel's names."""
    return _COPIED_WEIGHTS["visual.class_embedding"] in state


def from_clip_model(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a CLIPModel under open_clip's names. Raises ModelError with the first missing weight."""
    converted: dict[str, Tensor] = {}

    def require(name: str) -> Tensor:
        if name not in state:
            raise ModelError(f"these are not the weights of a CLIPModel: {name} is missing.")
        return state[name]

    for ours, theirs in _COPIED_WEIGHTS.items():
        for kind in ("weight", "bias") if ours.endswith(".") else ("",):
            converted[ours + kind] = require(theirs + kind)
    for ours, theirs in _TRANSPOSED_WEIGHTS.items():
        converted[ours] = require(theirs).T.contiguous()
    for ours, theirs in _STREAMS.items():
        for layer in sorted({name.removeprefix(theirs).split(".")[0] for name in state if name.startswith(theirs)}):
            for kind in ("weight", "bias"):
                for our_part, their_part in _BLOCK_WEIGHTS.items():
                    converted[f"{ours}{layer}.{our_part}{kind}"] = require(f"{theirs}{layer}.{their_part}{kind}")
                parts = [require(f"{theirs}{layer}.self_attn.{letter}_proj.{kind}") for letter in "qkv"]
                converted[f"{ours}{layer}.attn.in_proj_{kind}"] = torch.cat(parts)
    return converted
