"""Plain references that share no code with the product: one image at a time, the whole prefix anew for each token,
through open_clip's own forward; processors and searches as loops over lists."""

from __future__ import annotations

import math

import torch
from open_clip.coca_model import CoCa
from torch import Tensor

START, END, PAD = 58, 59, 0
VOCABULARY = 60


def tiny_coca(
    seed: int = 0, *, heads: int = 2, cls: bool = True, pool: bool = True, sharp: float = 6.0, **text
) -> CoCa:
    """A CoCa of some thousand parameters whose next tokens differ clearly (``sharp`` scales the logits)."""
    torch.manual_seed(seed)
    width = 32
    vision = {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8, "output_tokens": True}
    if pool:
        vision |= {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 5}
    common = {"context_length": 16, "vocab_size": VOCABULARY, "width": width, "heads": heads}
    model = CoCa(
        embed_dim=width,
        vision_cfg=vision,
        text_cfg={**common, "layers": 2, "embed_cls": cls, "output_tokens": True, **text},
        multimodal_cfg={**common, "layers": 2, "ls_init_value": text.get("ls_init_value")},
    )
    with torch.no_grad():
        model.text_decoder.text_projection.normal_(std=sharp * width**-0.5)
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "gamma", "head_scale")) or "ln_" in name:  # no parameter at its neutral value
                parameter.add_(torch.randn_like(parameter) * 0.2)
            if name == "text.token_embedding.weight":
                parameter.mul_(15)
            if name == "text.positional_embedding":
                parameter.mul_(100)
            if name.endswith(("out_proj.weight", "c_proj.weight")):
                parameter.mul_(4)
        _let_end(model.eval())
    return model


def _let_end(model: CoCa) -> None:
    """Raise the logits of the end and of padding so that they win now and then: captions end, at different lengths."""
    decoder = model.text_decoder
    decoder.ln_final.bias.normal_()  # along it, a column of the projection raises its token's logits evenly
    direction = decoder.ln_final.bias / decoder.ln_final.bias.square().sum()
    texts = torch.randint(1, START, (64, 16))
    texts[:, 0] = START
    logits = model(random_images(64, 99), texts)["logits"][:, :12]
    for token, share in ((END, 0.15), (PAD, 0.03)):
        behind = logits.amax(dim=-1) - logits[..., token]
        decoder.text_projection[:, token] += behind.quantile(share) * direction


def random_images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2


def log_probabilities(model: CoCa, image: Tensor, prefix: list[int]) -> list[float]:
    """The next token's, by the module's own forward on the whole prefix."""
    # Without a class token open_clip's text tower takes full contexts only; what follows is not looked at.
    filling = [] if model.text.cls_emb is not None else [1] * (model.context_length - len(prefix))
    with torch.no_grad():
        logits = model(image[None], torch.tensor([prefix + filling]), output_labels=False)["logits"][0, len(prefix) - 1]
    return logits.double().log_softmax(dim=-1).tolist()


def processed(scores: list[float], prefix: list[int], min_tokens: int, repetition: float, ngram: int) -> list[float]:
    scores = list(scores)
    for token in set(prefix):
        scores[token] = scores[token] * repetition if scores[token] < 0 else scores[token] / repetition
    if ngram:
        seen = [tuple(prefix[i : i + ngram]) for i in range(len(prefix)) if i + ngram <= len(prefix)]
        for token in range(len(scores)):
            if len(prefix) >= ngram - 1 and (*prefix[len(prefix) - ngram + 1 :], token) in seen and ngram > 1:
                scores[token] = -math.inf
            if ngram == 1 and token in prefix:
                scores[token] = -math.inf
    if len(prefix) - 1 < min_tokens:
        scores[END] = scores[PAD] = -math.inf
    return scores


def greedy(
    model: CoCa, image: Tensor, prefix: list[int], max_tokens: int, **rules
) -> tuple[tuple[int, ...], float, bool]:
    """Tokens, log-probability, whether it ended by itself."""
    prefix, total = list(prefix), 0.0
    while len(prefix) - 1 < max_tokens:
        values = log_probabilities(model, image, prefix)
        scores = processed(values, prefix, **rules)
        token = max(range(len(scores)), key=scores.__getitem__)
        total += values[token]
        if token in (END, PAD):
            return tuple(prefix[1:]), total, True
        prefix.append(token)
    return tuple(prefix[1:]), total, False


def beam_search(
    model: CoCa,
    image: Tensor,
    prefix: list[int],
    max_tokens: int,
    beams: int,
    length_penalty: float = 1.0,
    stop: str = "likely",
    **rules,
) -> list[tuple[tuple[int, ...], float, float, bool]]:
    """All different finished captions, best first: tokens, log-probability, score, ended."""
    prompt = len(prefix)
    alive = [(list(prefix), 0.0, 0.0)]  # prefix, log-probability, total
    finished: list[tuple[tuple[int, ...], float, float, bool]] = []
    for length in range(prompt - 1, max_tokens):
        every = []
        for tokens, value, total in alive:
            plain = log_probabilities(model, image, tokens)
            for token, score in enumerate(processed(plain, tokens, **rules)):
                if score > -math.inf:
                    every.append((total + score, tokens, token, value + plain[token]))
        every.sort(key=lambda way: -way[0])
        alive = []
        for place, (total, tokens, token, value) in enumerate(every):
            if token in (END, PAD):
                if place < beams:
                    score = total / (len(tokens) - prompt + 1) ** length_penalty
                    finished.append((tuple(tokens[1:]), value, score, True))
            elif len(alive) < beams:
                alive.append(([*tokens, token], value, total))
        if length + 1 == max_tokens:
            for tokens, value, total in alive:
                score = total / (len(tokens) - prompt) ** length_penalty
                finished.append((tuple(tokens[1:]), value, score, False))
        finished = sorted(finished, key=lambda c: -c[2])[:beams]
        if alive and len(finished) == beams:
            best = max(total for _, _, total in alive)
            reach = max_tokens + 1 - prompt if stop == "certain" and length_penalty > 0 else length + 2 - prompt
            if stop == "enough" or finished[-1][2] >= best / reach**length_penalty:
                alive = []
        if not alive:
            break
    different = {}
    for caption in finished:
        different.setdefault(caption[0], caption)
    return list(different.values())
