"""Both towers as ONNX graphs: images or tokens in, unit vectors out.

Flow: ``core.exporting.export`` -> `write_onnx` -> ``image.onnx``, ``text.onnx``, with a dynamic batch size.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.model.errors import ModelError
from core.model.towers.towers import Towers
from core.spec.installed import need

OPSET = 18
_SAMPLE_ROWS = 2  # rows of the example that is traced


class _Stream(nn.Module):
    """One of open_clip's two encoders, with unit vectors (B, D) as output."""

    def __init__(self, encode: Callable[..., Tensor], clip: nn.Module) -> None:
        super().__init__()
        self.clip, self._encode = clip, encode

    def forward(self, values: Tensor) -> Tensor:
        return F.normalize(self._encode(values), dim=-1)


def write_onnx(towers: Towers, folder: Path) -> None:
    """Write both towers to ``folder``.

    One graph maps ``pixel_values`` (B, 3, S, S) float32, normalised, to ``image_embeds`` (B, D); the other maps
    ``input_ids`` (B, T) int64 to ``text_embeds`` (B, D). Raises NotInstalled if packages are missing, ModelError if the
    architecture cannot be traced.
    """
    need("export")
    clip: Any = towers.clip
    side = towers.image_size
    images = torch.zeros(_SAMPLE_ROWS, 3, side, side, device=towers.pixel_mean.device)
    tokens = towers.tokenize(["a"] * _SAMPLE_ROWS).to(images.device)
    streams = (
        ("image.onnx", _Stream(clip.encode_image, clip), images, "pixel_values", "image_embeds"),
        ("text.onnx", _Stream(clip.encode_text, clip), tokens, "input_ids", "text_embeds"),
    )
    for file, stream, sample, input_name, output_name in streams:
        _write(stream.eval(), sample, folder / file, input_name, output_name)


def _write(stream: nn.Module, sample: Tensor, path: Path, input_name: str, output_name: str) -> None:
    fastpath_was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # ONNX does not have the fused operator
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter warns about its own code
            program = torch.onnx.export(
                stream,
                (sample,),
                input_names=[input_name],
                output_names=[output_name],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.save(path)
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise ModelError(f"this model cannot be exported to ONNX ({reason}); export an open_clip folder.") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath_was_enabled)
