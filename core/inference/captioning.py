"""A captioning model: a network with a caption decoder, its tokenizer and its provenance.

Flow: a model's name -> ``open_caption_model`` -> ``CaptionModel.captions`` -> ``core.inference.caption_stream``.

Legend: B batch, S side of the images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from core.checkpoint.opening import Model, open_model
from core.inference.generation.caption import Caption, SpecialTokens
from core.inference.generation.captions import caption_steps
from core.inference.generation.fusion import caption_decoder
from core.model.network import Network
from core.model.runtime import Runtime, has_bf16
from core.model.towers.towers import Towers
from core.spec.config import DataConfig, expand_user, field_errors, split_run
from core.spec.errors import UserError
from core.spec.generation import GenerationError, GenerationSettings

_BEFORE_MARKS = re.compile(r" (?=[.,!?;:](?: |$)|'(?:s|t|re|ve|m|ll|d)\b)")
# CLIP's tokenizer loses the original spaces: these are removed within words and numbers.
_AROUND_MARKS = re.compile(
    r"""
      (?<=\w)\ (?=[-/]\ \w) | (?<=\w\ [-/])\ (?=\w)   # t-shirt, and/or
    | (?<=\d)\ ?(?=[.:]\ \d) | (?<=\d\ [.:])\ (?=\d) | (?<=\d[.:])\ (?=\d)   # 3.5, 10:30
    | (?<=\d)\ (?=\d|(?:st|nd|rd|th)\b)            # 2024, 1st
    | (?<=\b\w)\ (?='\ \w) | (?<=\b\w\ ')\ (?=\w)   # o'clock
    | (?<=[(\[])\  | \ (?=[)\]])                     # (brackets)
    """,
    re.VERBOSE,
)


class CaptionModel:
    """Captions images, by default in bfloat16 on GPUs that support it, otherwise in float32."""

    def __init__(self, name: str, model: Model, precision: str = "") -> None:
        """``precision``: "fp32" or "bf16", or "" for the fastest.

        Raises GenerationError if the model has no caption decoder that can generate token by token.
        """
        self.name, self._precision = name, precision
        self.max_batch: int | None = None  # images per batch that fit into memory; None until memory runs out
        try:
            self._move(model, model.runtime.device)
        except GenerationError as error:
            raise GenerationError(f"{name} cannot caption: {error}") from error
        self._ids, self._encode = _tokens_of(model.network.towers)

    def _move(self, model: Model, device: torch.device) -> None:
        fastest = "bf16" if device.type != "cpu" and has_bf16(device) else "fp32"
        precision = self._precision or fastest
        network = model.network.to(device).eval()
        self._model = replace(model, network=network, runtime=Runtime(device, precision))
        self._decoder = caption_decoder(network, torch.bfloat16 if precision == "bf16" else None)
        self._digest = ""

    @property
    def network(self) -> Network:
        """The network."""
        return self._model.network

    @property
    def on_cpu(self) -> bool:
        return self._model.runtime.device.type == "cpu"

    def move_to_cpu(self) -> None:
        """Move the model to the CPU, and free GPU memory."""
        self._move(self._model, torch.device("cpu"))
        self.max_batch = None
        free_memory()

    @property
    def side(self) -> int:
        """The side of the square input images, in pixels."""
        return self._model.network.image_size

    @property
    def data(self) -> DataConfig:
        """The data settings of the model's training, which control the decoding of images."""
        return self._model.data

    @property
    def max_tokens(self) -> int:
        """The maximum number of tokens of a caption."""
        return self._decoder.context - 2

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about the model for the user."""
        return self._model.notes

    def provenance(self) -> dict[str, Any]:
        """The provenance of captions: ``model, pretrained, weights, step, digest, precision``."""
        subject = self._model.subject
        step = re.search(r"@step-(\d+)$", subject.model)
        self._digest = self._digest or self._model.digest
        return {
            "model": subject.model,
            "pretrained": subject.pretrained,
            "weights": subject.weights,
            "step": int(step[1]) if step else None,
            "digest": self._digest,
            "precision": self._model.runtime.precision,
        }

    def describe(self) -> str:
        """A readable name of the device, such as "cpu, 2 threads"."""
        return self._model.runtime.describe()

    def settings(self, fields: Mapping[str, Any], captions: int | None = None) -> GenerationSettings:
        """Settings from plain data; defaults depend on the model's context and on ``captions``.

        Raises UserError with all invalid fields.
        """
        values = dict(fields)
        if captions is not None:
            values["captions"] = captions
        if "max_tokens" not in values:
            default = GenerationSettings.model_fields["max_tokens"].default
            values["max_tokens"] = max(min(default, self.max_tokens), _to_int(values.get("min_tokens")), 1)
        if "min_tokens" not in values:
            values["min_tokens"] = min(
                GenerationSettings.model_fields["min_tokens"].default, _to_int(values["max_tokens"])
            )
        if values.get("search", "beam") == "beam" and "beams" not in values:
            default = GenerationSettings.model_fields["beams"].default
            values["beams"] = max(default, _to_int(values.get("captions")))
        try:
            return GenerationSettings.model_validate(values)
        except ValidationError as error:
            lines = [f"{field or 'settings'}: {text}" for field, text in field_errors(error).items()]
            raise UserError("invalid caption settings: " + " ".join(lines)) from error

    def captions(
        self, pixels: Tensor, settings: GenerationSettings, step: Callable[[int, int], None]
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yield position and captions of each image in ``pixels`` (B, 3, S, S) uint8 as soon as they are final.

        A caption has ``text, log_prob, score, tokens, ended``; the best caption comes first. ``step`` is called after
        each token with the number of tokens and its maximum, and may raise to cancel.
        """
        runtime = self._model.runtime
        towers = self._model.network.towers
        images = towers.normalise(pixels.to(runtime.device))
        prompt = self._encode(settings.prompt) if settings.prompt.strip() else ()
        steps = caption_steps(self._decoder, images, settings, prompt=prompt, ids=self._ids)
        while True:
            with runtime.autocast():  # not active while the caller runs
                update = next(steps, None)
            if update is None:
                return
            step(update.length, update.total)
            for position, captions in update.captions.items():
                yield position, [_to_plain_data(caption, towers) for caption in captions]


def open_caption_model(
    name: str, weights: str = "", progress: Callable[[str, int, int], None] | None = None
) -> CaptionModel:
    """Open the model ``name`` (see ``core.checkpoint.opening.open_model``) for captioning.

    Raises UserError if the model does not exist or cannot caption.
    """
    return CaptionModel(name, open_model(_absolute_name(name), weights, progress))


def _absolute_name(name: str) -> str:
    """The absolute path if ``name`` is a folder, since provenance is read elsewhere; otherwise ``name``."""
    return str(expand_user(name).absolute()) if split_run(name) else name


def free_memory() -> None:
    """Release GPU memory that torch has cached."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _to_int(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _to_plain_data(caption: Caption, towers: Towers) -> dict[str, Any]:
    return {
        "text": words(towers, caption.tokens),
        "log_prob": caption.log_probability,
        "score": caption.score,
        "tokens": len(caption.tokens),
        "ended": caption.ended,
    }


def words(towers: Towers, tokens: tuple[int, ...]) -> str:
    """The text of ``tokens`` on one line, with the usual spaces around punctuation and within numbers."""
    text = _BEFORE_MARKS.sub("", " ".join(towers.detokenize(tokens).split()))
    return _AROUND_MARKS.sub("", text) if towers.normalises_blanks else text


def _tokens_of(towers: Towers) -> tuple[SpecialTokens, Callable[[str], list[int]]]:
    """The tokenizer's special tokens, and a function from text to token ids."""

    def encode(text: str) -> list[int]:
        row: list[int] = towers.tokenize([text])[0].tolist()
        return row[1 : row.index(end)] if end in row[1:] else row[1:]

    row = towers.tokenize([""])[0].tolist()
    start, end = row[0], row[1]
    return SpecialTokens(start, end, towers.pad_id), encode
