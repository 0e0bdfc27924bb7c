"""Masked words: restored from the image and the other words.

Legend: B batch, T tokens, N masked words, F fused width, V vocabulary, Wt width of the text tower.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.data.batch import Batch
from core.model.heads import WordHead
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require, require_head, require_same_length
from core.objectives.parts.schedule import ObjectiveValues
from core.objectives.parts.vocabulary import hard_words, soft_words
from core.objectives.parts.words import WordPositions
from core.objectives.weighting.belief import weighted_mean
from core.ranks.collectives import first_row, overall_mean, size
from core.ranks.draws import shared
from core.ranks.transfer import sent
from core.spec.config import MaskedWordsConfig


@dataclass(frozen=True)
class Masking:
    """Captions of which some words are masked."""

    tokens: Tensor  # (B, T) int64, with other words at some positions
    hidden: Tensor  # (B, T) bool, where no word is shown
    masked: Tensor  # (B, T) bool, what is to be restored
    words: WordPositions  # the same as positions among all B T, with the words that stood there

    def sent(self, device: torch.device) -> Masking:
        """The same on ``device``."""
        masked = sent(self.masked, device)
        return Masking(sent(self.tokens, device), sent(self.hidden, device), masked, self.words.sent(device))


@dataclass(frozen=True)
class Restored:
    """One network's predictions of the masked words."""

    logits: Tensor  # (N, V)
    labels: Tensor  # (N,) int64
    pairs: Tensor  # (N,) int64, the pair of the batch that each word belongs to


def mask_words(tokens: Tensor, special: Tensor, vocabulary: int, rate: float) -> Masking:
    """Mask words of ``tokens`` (B, T) with probability ``rate`` (BERT, Devlin et al. 2019, section 3.1).

    Of the masked ones 80 % are hidden, 10 % another word, 10 % stay. ``special`` ids (start, end, padding) are never
    masked and never put in. All of it in the host's memory; each rank draws for all.
    """
    every = (size() * len(tokens), tokens.shape[1])
    own = slice(first_row(len(tokens)), first_row(len(tokens)) + len(tokens))
    chance = torch.rand(2, *every, generator=shared)[:, own]
    masked = (chance[0] < rate) & ~torch.isin(tokens, special)
    hidden = masked & (chance[1] < 0.8)
    other = masked & (chance[1] >= 0.9)
    words = torch.arange(vocabulary)
    words = words[~torch.isin(words, special)]
    drawn = words[torch.randint(len(words), every, generator=shared)[own]]
    places = masked.flatten().nonzero()[:, 0]
    restored = WordPositions(places, tokens[masked], places // max(1, tokens.shape[1]))
    return Masking(torch.where(other, drawn, tokens), hidden, masked, restored)


class MaskedWordHead(nn.Module):
    """The embedding that is read for a hidden word (an id of its own, after the vocabulary), and logits over words."""

    def __init__(self, text_width: int, fused_width: int, vocabulary: int) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.empty(1, 1, text_width).normal_(std=0.02))
        self.words = WordHead(fused_width, vocabulary)

    def forward(self, fused: Tensor) -> Tensor:
        """(N, F) to (N, V)."""
        logits: Tensor = self.words(fused)
        return logits


class MaskedWords(Objective):
    """Cross-entropy of masked words, from the image and the words left (ALBEF, Li et al. 2021, equation 4).

        loss = - 1/N sum_n log p(word_n | image, words left)

    With alpha a above 0 the target is a times the teacher's softmax and 1 - a the word itself (ALBEF, equation 7); the
    teacher reads the same masked caption. Through cross-attention without text attention a word sees of the other
    words what its text tower shows it: with a causal tower those before it.
    """

    name = "masked_words"
    config_class = MaskedWordsConfig

    def __init__(self, config: MaskedWordsConfig) -> None:
        super().__init__(config)
        self.rate, self.alpha = config.rate, config.alpha
        self.asks_teacher = config.alpha > 0
        self._masking: Masking | None = None  # of this step, when a teacher has been shown it already

    def build_head(self, network: Network) -> nn.Module | None:
        return MaskedWordHead(network.towers.text_width, network.fused_width, network.towers.vocabulary)

    def check_teacher(self, student: Network, teacher: Network) -> None:
        if self.alpha > 0:
            require_same_length(f"{self.name}.alpha", student, teacher)
            require_head(self.name, student, teacher)

    def begin_step(self, network: Network, now: ObjectiveValues) -> None:
        super().begin_step(network, now)
        self._masking = None

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> Restored | None:
        if self.alpha == 0:
            return None
        if self._masking is None:  # several teachers read the same masked caption
            self._masking = self._mask(network, batch)
        return self._restore(network, batch, output, self._masking)

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> Restored:
        shown, self._masking = self._masking, None
        return self._restore(network, batch, output, shown or self._mask(network, batch))

    def _mask(self, network: Network, batch: Batch) -> Masking:
        towers, special = network.towers, torch.tensor(network.towers.special_ids)
        masking = mask_words(batch.on_host.texts, special, towers.vocabulary, self.rate)
        return masking.sent(batch.texts.device)

    def _restore(self, network: Network, batch: Batch, output: Output, shown: Masking) -> Restored:
        head = network.heads[self.name]
        assert isinstance(head, MaskedWordHead)
        text = network.towers.encode_text(shown.tokens, True, shown.hidden, head.mask_token)
        words = network.join(output.image_features[0], text, every_word=True).words
        assert words is not None
        logits = head(shown.words.of(words[:, : shown.tokens.shape[1]]))
        return Restored(logits, shown.words.labels, shown.words.pairs)

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        answer: Restored = student.extra[self.name]
        count = torch.tensor(float(size() * len(answer.labels)))
        if not len(answer.labels) and size() == 1:  # a batch of short captions may have none
            return answer.logits.sum(), {"diag/masked_words": count}
        alpha = self.now.alpha
        with torch.autocast(answer.logits.device.type, enabled=False):
            losses, right = hard_words(answer.logits, answer.labels)
            if alpha > 0:
                kl, entropy = soft_words(answer.logits, require(teacher, self.name).extra[self.name].logits)
                losses = (1 - alpha) * losses + alpha * (kl + entropy)  # the cross-entropy under the teacher's words
            belief = None if student.belief is None else student.belief[answer.pairs]
            loss = weighted_mean(losses, belief, alike=False)
        return loss, {"diag/masked_words": count, "diag/masked_word_accuracy": overall_mean(right.float())}
