"""open_clip's image and text towers behind one interface. Only this package imports open_clip.

Flow: ``resolve_architecture`` -> ``build_towers`` -> (``load_pretrained``) -> ``core.model.network``.

Legend: B batch, H W image height and width, P patches, T tokens, Wi Wt widths of the towers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.coca_model import CoCa
from open_clip.hf_configs import arch_dict
from open_clip.hf_model import HFTextEncoder
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.pretrained import get_pretrained_cfg
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from core.model.errors import ModelError
from core.model.towers.architectures import list_architectures, resolve_architecture
from core.model.towers.block_states import blocks_of
from core.model.towers.decoder import adopt_decoder, decode, decoder_blocks, decoder_of, word_logits
from core.model.towers.downloading import downloaded_text_model
from core.model.towers.formats.description import check_description
from core.model.towers.freezing import frozen_modules
from core.model.towers.image import ImageFeatures, image_features, image_widths, patch_embeddings, patch_side
from core.model.towers.pretrained import find_weights, fit_weights, read_weights
from core.model.towers.text import TextFeatures, TextTower
from core.model.towers.tokenizer import Tokenizer
from core.model.towers.transformer import adopt_blocks
from core.ranks.tensors import full_tensor
from core.spec.config import expand_user
from core.spec.reading import excerpt, read_json
from core.spec.run.model_names import MAX_CONFIG_BYTES

__all__ = [
    "ImageFeatures",
    "ModelError",
    "TextFeatures",
    "Towers",
    "build_towers",
    "list_architectures",
    "load_pretrained",
    "resolve_architecture",
]

MAX_LOGIT_SCALE = 100.0  # Radford et al. 2021, section 2.5


class Towers(nn.Module):
    """An open_clip CLIP or CoCa module (``clip``, with its own state dict names), with features at each level."""

    pixel_mean: Tensor  # (3,) for images in 0 to 1
    pixel_std: Tensor  # (3,)

    def __init__(self, clip: Any, model_cfg: dict[str, Any]) -> None:
        super().__init__()
        adopt_decoder(clip)
        adopt_blocks(clip)
        _add_dimension(clip)
        self.clip: Any = clip
        self.mask_token: nn.Parameter | None = None
        self._frozen: list[nn.Module | nn.Parameter] = []
        self.embed_dim = int(model_cfg["embed_dim"])
        self.quick_gelu = bool(model_cfg.get("quick_gelu", False))
        self.image_size = _square(self.clip.visual.image_size)
        self.patch_side = patch_side(self.clip.visual)
        # Only open_clip's own ViTs accept other image sizes (by interpolated positions), and hide or drop patches.
        self.is_open_clip_vit = isinstance(clip.visual, VisionTransformer)
        # Widths of ``before_projection`` and ``tokens`` of ImageFeatures (None: no tokens for a fusion).
        self.image_width, self.image_token_width = image_widths(clip.visual, self.image_size)
        self._text = TextTower(self.clip, model_cfg["text_cfg"])
        self.text_width = self._text.width
        self.context_length = self._text.context_length
        self.pad_id = self._text.pad_id
        self._text_cfg: dict[str, Any] = dict(model_cfg["text_cfg"])
        self.tokenize = Tokenizer(self._text_cfg, self.context_length)  # captions -> (N, context) int64
        preprocess = model_cfg.get("preprocess_cfg", {})
        self.register_buffer(
            "pixel_mean", torch.tensor(preprocess.get("mean", OPENAI_DATASET_MEAN), dtype=torch.float32)
        )
        self.register_buffer("pixel_std", torch.tensor(preprocess.get("std", OPENAI_DATASET_STD), dtype=torch.float32))

    @property
    def image_mean(self) -> tuple[float, ...]:
        """Mean of each colour channel for normalisation, 0 to 1."""
        return tuple(self.pixel_mean.tolist())

    @property
    def image_std(self) -> tuple[float, ...]:
        """Standard deviation of each colour channel for normalisation, 0 to 1."""
        return tuple(self.pixel_std.tolist())

    @property
    def logit_scale(self) -> Tensor:
        """The factor of similarities; a scalar, already exponentiated."""
        scale: Tensor = self.clip.logit_scale
        return full_tensor(scale).exp().reshape(())

    @property
    def logit_bias(self) -> Tensor | None:
        """The term added to similarities (SigLIP); a scalar."""
        bias: Tensor | None = self.clip.logit_bias
        # A copy, since a sharded parameter is only valid during one pass.
        return None if bias is None else full_tensor(bias).reshape(()).clone()

    @property
    def tokenizer_digest(self) -> str:
        """A digest that is equal for towers with the same tokenizer and vocabulary."""
        names = ("hf_tokenizer_name", "tokenizer_kwargs", "vocab_size")
        return repr([self._text_cfg.get(name) or None for name in names])

    def clamp_logit_scale(self) -> None:
        """Clamp the logit scale to 1..100; called after each optimiser step."""
        with torch.no_grad():
            self.clip.logit_scale.clamp_(0.0, math.log(MAX_LOGIT_SCALE))

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids without start, end and padding."""
        tokenizer: Any = self.tokenize.open_clip()
        plain = tokenizer.tokenizer if isinstance(tokenizer, HFTokenizer) else tokenizer
        return str(plain.decode(list(tokens)))

    @property
    def normalises_blanks(self) -> bool:
        """Whether ``detokenize`` puts a blank between any two words or marks, like CLIP's own tokenizer."""
        return isinstance(self.tokenize.open_clip(), SimpleTokenizer)

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 ``images`` (B, 3, H, W) as floats with mean 0 and deviation 1 per colour."""
        scale = 1.0 / (255.0 * self.pixel_std)
        shift = -self.pixel_mean / self.pixel_std
        return torch.addcmul(shift[:, None, None], images.to(scale.dtype), scale[:, None, None])

    def encode_image(
        self,
        images: Tensor,
        mask: Tensor | None = None,
        patches: bool = False,
        patch_index: Tensor | None = None,
    ) -> ImageFeatures:
        """Features of normalised ``images`` (B, 3, H, W), whose sides are multiples of ``patch_side``.

        ``mask`` (B, P) bool hides patches; ``patch_index`` (B, k) selects the visible patches. ``patches`` adds patch
        states after the last block.
        """
        return image_features(self.clip.visual, images, mask, self.mask_token, patches, patch_index)

    def embed_patches(self, images: Tensor) -> Tensor:
        """Embeddings (B, P, D) of the patches of normalised ``images`` (B, 3, H, W); see `patch_embeddings`."""
        return patch_embeddings(self.clip.visual, images)

    def add_mask_token(self) -> None:
        """Add a learnt token for hidden patches to a ViT (BEiT, Bao et al. 2022)."""
        if self.is_open_clip_vit:
            self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(self.patch_width), std=0.02))

    def blocks(self) -> list[nn.Module]:
        """The transformer blocks of both towers and of a caption decoder."""
        return [*blocks_of(self.clip.visual), *self._text.blocks(), *decoder_blocks(self.clip)]

    @property
    def text_blocks(self) -> list[nn.Module]:
        """The transformer blocks of the text tower in order."""
        return self._text.blocks()

    @property
    def patches_across(self) -> int:
        """The number of patches along a side of the image."""
        return self.image_size // self.patch_side

    @property
    def patch_dropout(self) -> float:
        """The share of patches that the image tower drops in training."""
        return float(getattr(getattr(self.clip.visual, "patch_dropout", None), "prob", 0.0))

    @property
    def patch_width(self) -> int:
        """Width of the patch states of an open_clip ViT."""
        return int(self.clip.visual.conv1.weight.shape[0])

    def freeze(self, towers: str, image_blocks: int = 0) -> None:
        """Freeze the "image" tower, the "text" tower, "both", both except their projections ("trunks"), or "none".

        ``image_blocks`` > 0 also freezes the patch embedding and this number of first image blocks. Batch norm
        statistics in frozen parts are frozen too. Raises ModelError if the tower has fewer blocks.
        """
        self._frozen = frozen_modules(self.clip, towers, image_blocks)
        for part in self._frozen:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Towers:
        """Like ``nn.Module.train``, but frozen parts stay in eval mode."""
        super().train(mode)
        for part in self._frozen:
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def encode_text(
        self, tokens: Tensor, all_tokens: bool = False, hidden: Tensor | None = None, mask_token: Tensor | None = None
    ) -> TextFeatures:
        """Features of ``tokens`` (B, T). Trimming ``tokens`` to the longest caption does not change the result.

        ``all_tokens`` adds the state of each token; otherwise the last block computes only the pooled token. Tokens
        that are ``hidden`` (B, T) bool get the embedding ``mask_token`` (1, 1, Wt).
        """
        return self._text.encode(tokens, all_tokens, hidden, mask_token)

    @property
    def is_transformers_text(self) -> bool:
        """Whether the text tower is a model of transformers."""
        return isinstance(getattr(self.clip, "text", None), HFTextEncoder)

    @property
    def causal_text(self) -> bool:
        """Whether tokens attend only to earlier tokens."""
        return self._text.causal

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The token ids of start, end and padding."""
        tokenizer: Any = self.tokenize.open_clip()
        if isinstance(tokenizer, HFTokenizer):
            return tuple(sorted({self.pad_id, *tokenizer.tokenizer.all_special_ids}))
        return tuple(sorted({self.pad_id, *tokenizer.all_special_ids}))

    @property
    def end_id(self) -> int | None:
        """The token id that ends a caption; None if the tokenizer has none."""
        tokenizer: Any = self.tokenize.open_clip()
        if not isinstance(tokenizer, HFTokenizer):
            return int(tokenizer.eot_token_id)
        words = tokenizer.tokenizer
        end = words.sep_token_id if words.eos_token_id is None else words.eos_token_id
        return None if end is None or tokenizer.strip_sep_token else int(end)

    @property
    def vocabulary(self) -> int:
        """Size of the text tower's vocabulary."""
        return self._text.vocabulary

    def check_decoder(self) -> None:
        """Raise ModelError if the architecture has no caption decoder."""
        decoder_of(self.clip)

    def decode(self, image: Tensor, words: Tensor) -> Tensor:
        """CoCa's decoder states (B, T, W), for ``word_logits``.

        ``words`` (B, T, Wt) are ``TextFeatures.words``; ``image`` (B, P, Wi) is ``ImageFeatures.tokens``. Raises
        ModelError if the architecture has no caption decoder.
        """
        return decode(self.clip, image, words)

    def word_logits(self, states: Tensor) -> Tensor:
        """Next-word logits (..., V) from the states (..., W) of ``decode``."""
        return word_logits(self.clip, states)


def _add_dimension(clip: Any) -> None:
    """Change the shape of logit scale and bias to (1,), since scalar parameters cannot be sharded.

    Checkpoints store both as scalars (``core.checkpoint.scalars``).
    """
    for name in ("logit_scale", "logit_bias"):
        parameter = getattr(clip, name, None)
        if isinstance(parameter, nn.Parameter) and parameter.ndim == 0:
            setattr(clip, name, nn.Parameter(parameter.detach().reshape(1), requires_grad=parameter.requires_grad))


def _square(size: int | Sequence[int]) -> int:
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    if height != width:
        raise ModelError(f"image_size {height} x {width} is not square; choose an architecture with square images.")
    return height


def build_towers(model_cfg: dict[str, Any]) -> Towers:
    """Build the towers of an open_clip configuration with random weights from torch's generator. Downloads nothing.

    Raises ModelError if a package or text model for the architecture is missing, or the configuration is invalid.
    """
    check_description(model_cfg, "the architecture")
    options = {key: value for key, value in model_cfg.items() if key not in ("custom_text", "preprocess_cfg")}
    options["vision_cfg"] = {**model_cfg["vision_cfg"], "timm_model_pretrained": False}
    options["text_cfg"] = {**model_cfg["text_cfg"], "hf_model_pretrained": False}
    hub_name = model_cfg["text_cfg"].get("hf_model_name")
    if hub_name:
        options["text_cfg"]["hf_model_name"] = _text_model(hub_name)
    custom = model_cfg.get("custom_text", False) or hub_name
    kind = CLIP if not custom else CoCa if "multimodal_cfg" in model_cfg else CustomTextCLIP
    if kind is CoCa:  # open_clip's forward expects image tokens
        options["vision_cfg"]["output_tokens"] = options["text_cfg"]["output_tokens"] = True
    try:
        clip = kind(**options)
        if isinstance(clip, CoCa):  # open_clip does not initialise this parameter
            nn.init.normal_(clip.text_decoder.text_projection, std=clip.text_decoder.width**-0.5)
        return Towers(clip, model_cfg)
    except ModelError:
        raise
    except Exception as error:  # open_clip, timm and transformers raise many types of errors
        reason = excerpt(str(error)) or type(error).__name__
        raise ModelError(f"the architecture cannot be built by open_clip: {reason}.") from error


def _text_model(name: str) -> str:
    """The folder of a text model's configuration. Raises ModelError if open_clip does not support its type."""
    folder = downloaded_text_model(name)
    config = read_json(folder / "config.json", MAX_CONFIG_BYTES, error=ModelError)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in arch_dict:  # transformers would offer to run code in the folder
        raise ModelError(
            f"the text model {name} has the unsupported type {excerpt(kind, 40)}; supported: {', '.join(arch_dict)}."
        )
    return str(folder)


def load_pretrained(
    towers: Towers, architecture: str, pretrained: str, progress: Callable[[str, int, int], None] | None = None
) -> None:
    """Load the weights ``pretrained``, an open_clip tag of ``architecture`` or a local folder or file, into ``towers``.

    ``core.checkpoint.starting.load_towers`` handles runs. ``progress`` counts the megabytes of a download. Raises
    ModelError with the available tags, the folder for weights if there is no network, or the tensor that does not fit.
    """
    tag = get_pretrained_cfg(architecture, pretrained) if not expand_user(pretrained).exists() else {}
    if tag.get("quick_gelu") and not towers.quick_gelu:
        raise ModelError(
            f"the weights {pretrained} were trained with QuickGELU, which {architecture} does not use; choose "
            f"{architecture}-quickgelu."
        )
    path = find_weights(architecture, pretrained, progress)
    fit_weights(towers.clip, read_weights(path), path)
    with torch.no_grad():
        for buffer, name in ((towers.pixel_mean, "mean"), (towers.pixel_std, "std")):
            if name in tag:
                buffer.copy_(torch.tensor(tag[name]))
