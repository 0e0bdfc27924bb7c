"""Text anchors: the text tower keeps the initial model's features of texts that need no images.

Legend: A texts per step, T tokens, D embed.
"""

from __future__ import annotations

import random

from torch import Tensor

from core.data.dataset import Progress
from core.data.errors import DataError
from core.data.sources.opening import check_exists, open_source
from core.data.sources.rows import clean_caption
from core.model.network import Network
from core.objectives.anchors.anchors import Anchors
from core.spec.config import RunConfig, TextAnchorsConfig
from core.spec.paths import expand_user
from core.spec.reading import MEGABYTE, read_text
from core.spec.resources import GENERAL, resource_folder

MAX_TEXTS = 20_000  # of more texts, this many are drawn; their features take 40 MB at width 512
MAX_FILE_BYTES = 8 * MEGABYTE  # about 150,000 captions


class TextAnchors(Anchors):
    """`Anchors` of texts, so that the text tower does not drift where the training data has no captions."""

    name = "text_anchors"
    config_class = TextAnchorsConfig
    activity = "encoding text anchors"

    def read_inputs(self, network: Network, config: RunConfig, progress: Progress) -> Tensor:
        """Tokens (N, T)."""
        texts = read_texts(self.source)
        if len(texts) > MAX_TEXTS:
            texts = random.Random(config.seed).sample(texts, MAX_TEXTS)
        return network.towers.tokenize(texts)

    def encode(self, network: Network, inputs: Tensor) -> Tensor:
        """Unit vectors (A, D) of tokens (A, T)."""
        return network.encode_texts(inputs)


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
