"""A teacher that cannot answer what the objectives ask is refused before training, with the field and the remedy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from open_clip.tokenizer import HFTokenizer

from core.model.errors import ModelError
from core.model.network import Network
from core.model.towers.towers import build_towers, resolve_architecture
from core.objectives.build import build_network
from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.teacher.frozen import _truncate
from tests.core.teacher.frozen_teacher import frozen_teacher
from tests.core.teacher.test_teacher_kinds import small

FROZEN = ("teacher.kind=frozen", "teacher.checkpoint=somewhere")


def network(config: RunConfig, model: dict[str, Any]) -> Network:
    torch.manual_seed(0)
    return build_network(config, model)


def test_a_queue_needs_a_single_teacher_of_the_same_width() -> None:
    field = "distill_similarity.queue"
    queued = ["objectives.distill_similarity.weight=1", "objectives.distill_similarity.queue=8"]
    config = override(preset_config("clip", "tiny"), [*FROZEN, *queued])
    student, alike = network(config, small()), Network(build_towers(small()))
    narrow = Network(build_towers(small() | {"embed_dim": 32}))
    frozen_teacher(config, student, [alike])
    with pytest.raises(ModelError, match=rf"objectives\.{field} compares vectors.* 32, .* 64; set .* to 0"):
        frozen_teacher(config, student, [narrow])
    with pytest.raises(ModelError, match=rf"objectives\.{field} needs a single teacher, not an .*teacher\.checkpoint"):
        frozen_teacher(config, student, [alike, Network(build_towers(small()))])
    without = override(config, [f"objectives.{field}=0"])
    frozen_teacher(without, student, [alike, narrow])  # similarities alone are shared


MASKED = (
    *FROZEN, "views.shared=true", "views.student.count=1", "views.student.mask=1", "objectives.masked_patches.weight=1",
    "objectives.masked_patches.prototypes=16",
)  # fmt: skip


def test_masked_patches_need_a_teacher_with_the_students_grid() -> None:
    config = override(preset_config("clip", "tiny"), MASKED)
    student = network(config, small())
    side, patch = student.image_size, student.towers.patch_side
    frozen_teacher(config, student, [network(config, small(image_size=2 * side, patch_size=2 * patch))])
    with pytest.raises(ModelError, match=r"masked_patches compares patch by patch.*8 x 8 .* 4 x 4;.*weight to 0"):
        frozen_teacher(config, student, [network(config, small(image_size=2 * side))])
    other = override(config, ["objectives.masked_patches.prototypes=8"])
    with pytest.raises(ModelError, match=r"masked_patches\.prototypes is 16, but the teacher .* 8; set .* to 8"):
        frozen_teacher(config, student, [network(other, small())])


def test_masked_patches_need_every_patch() -> None:
    config = override(preset_config("clip", "tiny"), MASKED)
    with pytest.raises(ModelError, match=r"masked_patches compares all patches.*drops 50% .* weight to 0"):
        network(config, small(patch_dropout=0.5))


@pytest.mark.parametrize("end", [99, 3, None])
def test_truncated_captions_end_with_an_end_token_and_fitting_ones_are_unchanged(end: int | None) -> None:
    """The end token of CLIP has the greatest id of all; one of transformers' tokenizers has not."""
    pad, ends = 0, 2 if end is None else end
    captions = torch.tensor([[1, 5, 6, 7, 8, ends], [1, 5, 6, ends, pad, pad], [1, ends, pad, pad, pad, pad]])
    towers: Any = SimpleNamespace(context_length=4, pad_id=pad, end_id=end)
    first = [1, 5, 6, 7 if end is None else end]
    assert _truncate(captions, towers).tolist() == [first, [1, 5, 6, ends], [1, ends, pad, pad]]
    towers.context_length = 6
    assert _truncate(captions, towers) is captions


def test_a_tokenizer_knows_its_end_token() -> None:
    towers = build_towers(resolve_architecture("sd-tiny"))
    tokens = towers.tokenize(["a cat"])[0]
    assert towers.end_id == int(tokens[tokens != towers.pad_id][-1])
    words = SimpleNamespace(eos_token_id=None, sep_token_id=102)  # as of BERT
    for strip, end in ((False, 102), (True, None)):
        tokenizer = object.__new__(HFTokenizer)
        tokenizer.tokenizer, tokenizer.strip_sep_token = words, strip
        towers.tokenize._tokenizer = tokenizer
        assert towers.end_id == end
