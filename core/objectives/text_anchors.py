"""Text anchors: the text tower keeps the initial model's features of texts that need no images.

Flow: before training, ``core.training.assembly`` calls ``prepare``, which encodes the texts with the initial weights.
In each step the student encodes a few of them.

Legend: N texts, A texts per step, T tokens, D embed.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from core.data.batch import Batch
from core.data.dataset import Progress
from core.data.errors import DataError
from core.data.sources.opening import GENERAL, check_exists, open_source
from core.data.sources.rows import clean_caption
from core.model.eval_mode import evaluating
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report
from core.ranks.collectives import overall_mean, rank, size
from core.ranks.draws import shared_generator
from core.ranks.transfer import to_device
from core.spec.config import TextAnchorsConfig
from core.spec.paths import expand_user
from core.spec.reading import MEGABYTE, read_text
from core.spec.resources import resource_folder

MAX_TEXTS = 20_000  # of more texts, this many are drawn; their features take 40 MB at width 512
MAX_FILE_BYTES = 8 * MEGABYTE  # about 150,000 captions
BATCH_SIZE = 256  # texts that are encoded at once before training


class TextAnchors(Objective):
    """The squared distance between the student's and the initial model's features of given texts.

    With f the student's unit vectors and g the initial model's, of A texts drawn in each step:
    ``loss = mean |f - g|^2``. It extends the distillation of features (LDIFS, Mukhoti et al. 2024) to texts without
    images, so that the text tower does not drift where the training data has no captions.
    """

    name = "text_anchors"
    config_class = TextAnchorsConfig

    def __init__(self, config: TextAnchorsConfig) -> None:
        super().__init__(config)
        self.source, self.per_step = config.source, config.per_step
        # Not saved in checkpoints: they are computed again when a run is resumed.
        self.register_buffer("tokens", torch.zeros(0, 0, dtype=torch.long), persistent=False)  # (N, T)
        self.register_buffer("features", torch.zeros(0, 0), persistent=False)  # (N, D)
        self.tokens: Tensor
        self.features: Tensor

    def prepare(self, network: Network, seed: int, progress: Progress) -> None:
        texts = read_texts(self.source)
        if len(texts) > MAX_TEXTS:
            texts = random.Random(seed).sample(texts, MAX_TEXTS)
        device = network.logit_scale.device
        self.tokens = network.towers.tokenize(texts).to(device)
        features = []
        with torch.no_grad(), evaluating(network):
            for tokens in self.tokens.split(BATCH_SIZE):
                features.append(network.encode_texts(tokens).float())
                progress("encoding text anchors", sum(map(len, features)), len(texts))
        self.features = torch.cat(features)

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> tuple[Tensor, Tensor]:
        """The student's and the initial model's features of this rank's texts, (A, D) each."""
        drawn = torch.randint(len(self.tokens), (self.per_step,), generator=shared_generator)
        drawn = to_device(drawn[rank() :: size()], self.tokens.device)
        return network.encode_texts(self.tokens[drawn]), self.features[drawn]

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        features, initial = student.extra[self.name]
        with torch.autocast(features.device.type, enabled=False):
            distances = (features.float() - initial).square().sum(-1)  # (A,)
            loss = overall_mean(distances)
        return loss, {"diag/anchor_cosine": 1 - loss.detach() / 2}  # |f - g|^2 = 2 - 2 f g for unit vectors


def read_texts(source: str) -> list[str]:
    """The distinct lines of a text file (``general``: of the included words), or the distinct captions of a data set.

    Raises DataError if ``source`` cannot be read or has no texts.
    """
    path = expand_user(source)
    if source == GENERAL and not path.exists():
        path = resource_folder("general") / "words.txt"
    if path.suffix.lower() == ".txt":
        check_exists(path)
        lines = read_text(path, MAX_FILE_BYTES, error=DataError, encoding="utf-8-sig").splitlines()
    else:
        lines = [caption for row in open_source(source).rows for caption in row.captions]
    texts = [text for text in dict.fromkeys(map(clean_caption, lines)) if text]
    if not texts:
        raise DataError(f"{source} has no texts; write one per line, or choose captioned data.")
    return texts
