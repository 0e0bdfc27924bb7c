"""Validation of untrusted model configurations before open_clip, timm or transformers read them.

Flow: an architecture's name, a folder, a JSON file or a checkpoint -> `core.model.towers.towers.build_towers` ->
``check_description`` -> open_clip. A valid configuration contains only settings of open_clip's published models, with
the same types and bounded values. It contains no path, URL or code; names of timm's and transformers' models are looked
up in timm and among downloaded files (`core.model.towers.tokenizer`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from open_clip.coca_model import MultimodalCfg
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from pydantic import TypeAdapter, ValidationError

from core.model.errors import ModelError
from core.spec.reading import excerpt

_SECTIONS = {"vision_cfg": CLIPVisionCfg, "text_cfg": CLIPTextCfg, "multimodal_cfg": MultimodalCfg}
_TYPES: dict[str, TypeAdapter[Any]] = {
    **{name: TypeAdapter(kind) for name, kind in _SECTIONS.items()},
    "embed_dim": TypeAdapter(int),
    **dict.fromkeys(("quick_gelu", "custom_text", "nonscalar_logit_scale"), TypeAdapter(bool)),
    **dict.fromkeys(("init_logit_scale", "init_logit_bias"), TypeAdapter(float)),
}
# Minimum and maximum of numbers. The largest published models have 48 layers of width 1664, images of 512 pixels,
# captions of 256 tokens and 900,000 words.
_COUNT, _SHARE = (1, 4096), (0, 1)
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("heads", "head_width", "attn_pooler_heads", "attn_pooler_queries", "n_queries"), _COUNT),
    **dict.fromkeys(("dim_head", "context_length", "patch_size"), _COUNT),
    **dict.fromkeys(("embed_dim", "width"), (1, 1 << 15)),
    **dict.fromkeys(("patch_dropout", "timm_drop", "timm_drop_path"), _SHARE),
    **dict.fromkeys(("ls_init_value", "init_logit_scale", "init_logit_bias"), (-1000, 1000)),
    **dict.fromkeys(("pad_id", "eos_id"), (-1, 1 << 22)),
    "layers": (1, 256),
    "image_size": (1, 1024),
    "vocab_size": (1, 1 << 22),
    "mlp_ratio": (1e-3, 64),
}
_OPTIONS = {  # allowed keys of object settings
    "act_kwargs": ("approximate",),
    "norm_kwargs": ("eps",),
    "tokenizer_kwargs": ("clean", "strip_sep_token", "reduction_mask"),
}
_CHOICES: dict[str, tuple[Any, ...]] = {
    "approximate": ("none", "tanh"),
    "clean": ("lower", "whitespace", "canonicalize"),
    "strip_sep_token": (True, False),
    "reduction_mask": ("simple", "random", "shuffle"),  # "syntax" is missing, as it downloads files
    "tokenizer_mode": ("", "clips"),
}
_TIMM_NAME = re.compile(r"\w{1,100}(\.\w{1,100})?", re.ASCII)
_HUB_NAME = re.compile(r"\w[\w-]{0,95}(\.[\w-]+)*(/\w[\w-]{0,95}(\.[\w-]+)*)?", re.ASCII)
_NAME_PATTERNS = {"timm_model_name": _TIMM_NAME, "hf_model_name": _HUB_NAME, "hf_tokenizer_name": _HUB_NAME}


def check_description(model_cfg: Mapping[str, Any], source: str) -> None:
    """Raise ModelError unless ``model_cfg`` is an open_clip configuration of known settings within their bounds.

    ``source`` describes the file in the message. In ``preprocess_cfg`` only colours and resizing are checked; its other
    settings are unused.
    """
    if problem := _find_problem(model_cfg):
        raise ModelError(f"{source} cannot be used: {problem}; choose another model.")


def _find_problem(model_cfg: Mapping[str, Any]) -> str:
    """A description of the first invalid setting; "" if all are valid."""
    for name, value in model_cfg.items():
        if name == "preprocess_cfg":
            problem = _check_preprocessing(value)
        elif name not in _TYPES:
            problem = f"{excerpt(name)} is not a setting of an open_clip model"
        else:
            check = _check_part if name in _SECTIONS else _check_value
            problem = _check_type(name, value) or check(name, value)
        if problem:
            return problem
    missing = [name for name in ("embed_dim", *_SECTIONS) if name not in model_cfg and name != "multimodal_cfg"]
    return f"{missing[0]} is missing" if missing else ""


def _check_type(name: str, value: Any) -> str:
    settings = (
        {key: setting for key, setting in value.items() if setting is not None} if isinstance(value, dict) else value
    )
    try:
        _TYPES[name].validate_json(json.dumps(settings), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        setting = ".".join(excerpt(part) for part in (name, *first["loc"][:1]))
        return f"{setting} is {excerpt(first['input'], 60)} ({first['msg']})"
    except (TypeError, ValueError, RecursionError) as error:  # not JSON, such as a number with thousands of digits
        return f"{name} is not plain data ({excerpt(str(error), 60)})"
    return ""


def _check_part(part: str, settings: Mapping[str, Any]) -> str:
    known_names = {field.name for field in fields(_SECTIONS[part])}
    for name, value in settings.items():
        if name not in known_names:
            return f"{part}.{excerpt(name)} is not a setting of an open_clip model"
        if problem := _check_value(f"{part}.{name}", value):
            return problem
    return ""


def _check_value(title: str, value: Any) -> str:
    """The problem with a setting of the right type; "" if it is valid. ``title``: its dotted name."""
    name, value_text = title.rpartition(".")[2], excerpt(value, 60)
    if value is None:
        return ""
    if name in _OPTIONS:
        return next((problem for key, option in value.items() if (problem := _check_option(title, key, option))), "")
    if name in _CHOICES and value not in _CHOICES[name]:
        return f"{title} is {value_text}, not one of {', '.join(map(repr, _CHOICES[name]))}"
    if name in _NAME_PATTERNS and value and not _NAME_PATTERNS[name].fullmatch(value):
        return f"{title} is {value_text}, which is not the name of a published model (paths and URLs are not allowed)"
    if name in _RANGES:
        low, high = _RANGES[name]
        numbers = value if isinstance(value, (list, tuple)) else (value,)
        total = sum(numbers) if name == "layers" else max(numbers, default=0)
        if not (all(low <= number for number in numbers) and total <= high):  # NaN fails too
            return f"{title} is {value_text}, outside {low:g} to {high:g}"
    return ""


def _check_option(title: str, name: str, value: Any) -> str:
    """The problem with the key ``name`` of the object ``title``, whose type is unchecked; "" if it is valid."""
    if name not in _OPTIONS[title.rpartition(".")[2]]:
        return f"{title}.{excerpt(name)} is not an allowed setting of a model configuration"
    if name == "eps":
        is_valid = isinstance(value, float) and 0 < value < 1
        return "" if is_valid else f"{title}.eps is {excerpt(value, 60)}, which is not a number above 0 and below 1"
    if not isinstance(value, (str, bool)):
        return f"{title}.{name} is {excerpt(value, 60)}, which is neither a string nor a boolean"
    return _check_value(f"{title}.{name}", value)


_RESIZING: dict[str, tuple[Any, ...]] = {  # None: open_clip's default
    "interpolation": ("bicubic", "bilinear", "random", None),  # open_clip treats "random" as bicubic in evaluation
    "resize_mode": ("shortest", "longest", "squash", None),
    "fill_color": (*range(256), None),
}


def _check_preprocessing(value: Any) -> str:
    """The problem with the mean and deviation of colours or the resizing; "" if they are valid. The rest is unused."""
    if not isinstance(value, dict):
        return f"preprocess_cfg is {excerpt(value, 60)}, which is not an object"
    for name, minimum in (("mean", -math.inf), ("std", 0.0)):
        colours = value.get(name, [0.5] * 3)
        is_valid = (
            isinstance(colours, (list, tuple))
            and len(colours) == 3
            and all(type(channel) in (int, float) for channel in colours)
        )
        if not (is_valid and all(minimum < channel and abs(channel) < 1000 for channel in colours)):
            above = " above 0" if name == "std" else ""
            return f"preprocess_cfg.{name} is {excerpt(colours, 60)}, which is not three numbers{above}"
    for name, choices in _RESIZING.items():
        choice = value.get(name)
        if isinstance(choice, (list, dict, float, bool)) or choice not in choices:
            return f"preprocess_cfg.{name} is {excerpt(choice, 60)}, which open_clip does not support"
    return ""
