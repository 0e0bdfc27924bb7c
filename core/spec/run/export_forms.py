"""The forms in which a model leaves for other programs, and how each is opened there [no torch].

Flow: ``sdgui-core export`` and the window's *Export model* offer `EXPORT_FORMS`; the model card and the window show
`ExportForm.how_to_open`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Form = Literal["open_clip", "huggingface", "onnx"]
ExportPrecision = Literal["fp32", "fp16", "bf16"]
EXPORT_PRECISIONS: tuple[ExportPrecision, ...] = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class ExportForm:
    """``use``: Python that opens the folder ``{folder}``; ``library``: what it needs there, as model hubs call it."""

    title: str
    what: str
    library: str
    use: str
    precisions: tuple[ExportPrecision, ...] = EXPORT_PRECISIONS

    def how_to_open(self, folder: str) -> str:
        """The lines of code, with the folder in them."""
        quoted = folder.replace("\\", "\\\\").replace('"', '\\"')
        return self.use.replace("{folder}", quoted)


EXPORT_FORMS: Mapping[Form, ExportForm] = {
    "open_clip": ExportForm(
        title="open_clip",
        what="A folder that open_clip opens as local-dir:…; of a CoCa the caption decoder too",
        library="open_clip",
        use="""import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:{folder}")
tokenizer = open_clip.get_tokenizer("local-dir:{folder}")""",
    ),
    "huggingface": ExportForm(
        title="Hugging Face",
        what="A CLIPModel's folder, which transformers opens; both towers",
        library="transformers",
        use="""from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

model = CLIPModel.from_pretrained("{folder}").eval()
pictures = AutoImageProcessor.from_pretrained("{folder}")
words = AutoTokenizer.from_pretrained("{folder}")  # pad to model.config.text_config.max_position_embeddings""",
    ),
    "onnx": ExportForm(
        title="ONNX",
        what="image.onnx and text.onnx, for programs without torch",
        library="onnx",
        use="""import onnxruntime

image = onnxruntime.InferenceSession("{folder}/image.onnx")
vectors = image.run(None, {"pixel_values": pictures})[0]  # (B, 3, S, S) float32 -> (B, D), unit length
text = onnxruntime.InferenceSession("{folder}/text.onnx")
vectors = text.run(None, {"input_ids": tokens})[0]  # (B, T) int64 -> (B, D), unit length""",
        precisions=("fp32",),
    ),
}
