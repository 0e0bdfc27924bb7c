"""Export formats, and the code that opens an exported model. No torch.

Flow: ``sdgui-core export`` and the window's *Export model* offer `EXPORT_FORMATS`; the model card and the window show
`ExportFormat.how_to_open`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.spec.errors import UserError
from core.spec.reading import read_json
from core.spec.run.model_names import MAX_CONFIG_BYTES, OPEN_CLIP_CONFIG, OpenClipModel, RunNetwork, locate, tuned_of

FormatName = Literal["open_clip", "huggingface", "onnx"]
ExportPrecision = Literal["fp32", "fp16", "bf16"]
EXPORT_PRECISIONS: tuple[ExportPrecision, ...] = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class ExportFormat:
    """An export format. ``use``: Python code that opens the folder ``@FOLDER@`` and compares ``image.jpg`` with a
    caption. ``library``: the library that the code needs, as named on model hubs."""

    title: str
    description: str
    library: str
    use: str
    precisions: tuple[ExportPrecision, ...] = EXPORT_PRECISIONS

    def how_to_open(self, folder: str) -> str:
        """The code for ``folder``."""
        return self.use.replace("@FOLDER@", repr(folder))


EXPORT_FORMATS: Mapping[FormatName, ExportFormat] = {
    "open_clip": ExportFormat(
        title="open_clip",
        description="A folder for open_clip (local-dir:…), including CoCa's caption decoder",
        library="open_clip",
        use="""import open_clip
import torch
from PIL import Image

folder = @FOLDER@
model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
model.eval()
with torch.no_grad():
    image_embeds = model.encode_image(preprocess(Image.open("image.jpg")).unsqueeze(0), normalize=True)
    text_embeds = model.encode_text(tokenizer(["a photo of a cat"]), normalize=True)
similarity = image_embeds @ text_embeds.T""",
    ),
    "huggingface": ExportFormat(
        title="Hugging Face",
        description="A CLIPModel folder for transformers, with both towers",
        library="transformers",
        use="""import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

folder = @FOLDER@
model = CLIPModel.from_pretrained(folder).float().eval()
image = AutoImageProcessor.from_pretrained(folder)(Image.open("image.jpg"), return_tensors="pt")
text = AutoTokenizer.from_pretrained(folder)(["a photo of a cat"], truncation=True, return_tensors="pt")
with torch.no_grad():
    output = model(**image, **text)
image_embeds, text_embeds = output.image_embeds, output.text_embeds
similarity = image_embeds @ text_embeds.T""",
    ),
    "onnx": ExportFormat(
        title="ONNX",
        description="image.onnx, text.onnx and tokenizer.json, for programs without torch",
        library="onnx",
        use="""import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps
from tokenizers import Tokenizer

folder = Path(@FOLDER@)
prepare = json.loads((folder / "preprocessor_config.json").read_text())
side, mean, std = prepare["crop_size"]["height"], prepare["image_mean"], prepare["image_std"]
image = ImageOps.fit(Image.open("image.jpg").convert("RGB"), (side, side), Image.Resampling.BICUBIC)
pixels = ((np.asarray(image) / 255 - mean) / std).astype(np.float32).transpose(2, 0, 1)[None]  # (B, 3, S, S)
tokens = np.array([Tokenizer.from_file(str(folder / "tokenizer.json")).encode("a photo of a cat").ids])  # (B, T)
image_model = onnxruntime.InferenceSession(folder / "image.onnx")
text_model = onnxruntime.InferenceSession(folder / "text.onnx")
image_embeds = image_model.run(None, {"pixel_values": pixels})[0]  # (B, D), unit length
text_embeds = text_model.run(None, {"input_ids": tokens})[0]
similarity = image_embeds @ text_embeds.T""",
        precisions=("fp32",),
    ),
}


class ExportError(UserError):
    """A model that cannot be exported to the chosen folder or format."""


def check_format(name: str, weights: str, format_name: FormatName, precision: ExportPrecision) -> None:
    """Raise ExportError if the format does not support ``precision``, or the caption decoder of the model ``name``.

    No torch, so that the check is immediate.
    """
    export_format = EXPORT_FORMATS[format_name]
    if precision not in export_format.precisions:
        raise ExportError(f"{export_format.title} supports only fp32, not {precision}; leave out --precision.")
    if format_name == "huggingface" and _has_decoder(tuned_of(locate(name, weights))):
        raise ExportError(
            f"{name} is a CoCa, which transformers does not support; export it with --format open_clip or onnx."
        )


def _has_decoder(source: RunNetwork | OpenClipModel) -> bool:
    """Whether the files declare a caption decoder; False if they are unreadable, since opening the model will raise."""
    try:
        if isinstance(source, RunNetwork):
            record = read_json(source.path.with_name("checkpoint.json"), MAX_CONFIG_BYTES, root=source.run.path)
            return "multimodal_cfg" in record["model"]
        record = read_json(Path(source.architecture) / OPEN_CLIP_CONFIG, MAX_CONFIG_BYTES)
        return "multimodal_cfg" in record["model_cfg"]
    except (OSError, UserError, LookupError, TypeError):
        return source.architecture.startswith("coca_") if isinstance(source, OpenClipModel) else False
