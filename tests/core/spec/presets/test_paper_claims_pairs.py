"""Claims of the papers on networks that fuse image and text."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.data.batch import Batch, View
from core.model.fusion import MergedFusion, QueryFusion, SkipFusion
from core.model.fusion.merged import MergedBlock
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.build import Objectives, build_network, build_objectives
from core.spec.chain import preset_chain
from core.spec.config import RunConfig, get_field, problems
from core.spec.presets import SIZES, Size, preset_config
from core.spec.presets.stages import STAGES
from tests.core.objectives.little_pairs import flat_pairs, little


def built(name: str, size: Size = "tiny") -> tuple[RunConfig, Network, Objectives]:
    """The preset with a vocabulary of one hundred tokens."""
    config = preset_config(name, size)
    torch.manual_seed(4)
    network = build_network(config, little(config.towers.architecture))
    return config, network, build_objectives(config, network)


def objective(objectives: Objectives, name: str) -> Any:
    return next(one for one in objectives if one.name == name)


def seen(network: Network, objectives: Objectives, pairs: Batch) -> Output:
    return objectives.head_outputs(network, pairs, network.forward_student(pairs))


def test_published_hyperparameters_at_full_size() -> None:
    def read(name: str, *fields: str) -> list[Any]:
        return [get_field(preset_config(name, "base"), field) for field in fields]

    assert read("coca", "objectives.captioning.weight", "objectives.contrastive.weight") == [2.0, 1.0]
    assert read("uniter", "objectives.masked_words.rate", "objectives.matching.negatives") == [0.15, "random"]
    similarity = "objectives.distill_similarity"
    assert read("albef", "teacher.momentum", f"{similarity}.alpha", f"{similarity}.queue") == [0.995, 0.4, 65536]
    assert read("albef", "objectives.masked_words.rate", "objectives.masked_words.alpha") == [0.15, 0.4]
    assert read("mplug", "fusion.merge_every", "fusion.layers") == [3, 6]
    assert read("vlmo", "fusion.feed_forward", "fusion.joint_layers") == ["per-modality", 2]
    assert read("blip", f"{similarity}.queue", "objectives.captioning.label_smoothing") == [57600, 0.1]
    assert read("blip2", "fusion.queries", "towers.freeze") == [32, "image"]
    assert read("beit3", "views.student.mask_share", "objectives.masked_words.rate") == [0.4, 0.5]


def test_coca_captions_and_contrasts_in_one_forward_pass() -> None:
    """The text embedding does not depend on the image; the next-word logits do."""
    _, network, objectives = built("coca")
    network.eval()
    pairs = flat_pairs()
    calls: list[int] = []
    encode = network.towers.encode_text
    network.towers.encode_text = lambda *given, **named: (calls.append(1), encode(*given, **named))[1]  # type: ignore
    one = seen(network, objectives, pairs)
    assert calls == [1]
    two = seen(network, objectives, Batch(pairs.rows, pairs.texts, View(pairs.clean.images.flip(0))))
    torch.testing.assert_close(one.text, two.text)
    assert not torch.allclose(one.extra["captioning"].logits, two.extra["captioning"].logits, atol=1e-4)


def test_sd_coca_distils_word_probabilities_from_the_teacher() -> None:
    """Distillation alone moves the student's word probabilities to the teacher's; the teacher gets no gradient."""
    _, network, objectives = built("sd-coca")
    teacher = copy.deepcopy(network).requires_grad_(False).eval()
    with torch.no_grad():
        for parameter in network.towers.clip.text_decoder.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    pairs = flat_pairs()
    distil = objective(objectives, "distill_captions")
    target = objectives.teacher_head_outputs(teacher, pairs, teacher.forward_teacher(pairs))
    assert not target.extra["distill_captions"].logits.requires_grad
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = []
    for _ in range(12):
        loss, _ = distil(seen(network, objectives, pairs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    same, _ = distil(seen(teacher, objectives, pairs), target)
    assert same.item() == pytest.approx(0.0, abs=1e-6)


def test_uniter_attends_across_modalities_in_every_layer() -> None:
    """Single stream: every patch attends to every word and vice versa."""
    _, network, _ = built("uniter")
    assert isinstance(network.fusion, MergedFusion)
    block = network.fusion.blocks[0]
    patches, words = torch.randn(1, 3, 32, requires_grad=True), torch.randn(1, 4, 32, requires_grad=True)
    everything = torch.ones(1, 7, 7, dtype=torch.bool)
    image, text = block(patches, words, everything, torch.tensor([3]))
    from_words = torch.autograd.grad(image[0, 0].sum(), words, retain_graph=True)[0]
    from_patches = torch.autograd.grad(text[0, 0].sum(), patches)[0]
    assert (from_words.abs().sum(dim=-1) > 0).all()
    assert (from_patches.abs().sum(dim=-1) > 0).all()


def test_albef_mines_hard_negatives_and_never_the_true_pair() -> None:
    """Over many draws, its negatives are more similar than random ones."""
    config, network, objectives = built("albef")
    matching = objective(objectives, "matching")
    image = nn.functional.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0], [0.1, 1.0]]), dim=-1)
    output = seen(network, objectives, flat_pairs())
    views = {"clean": type(output.clean)(image), "text": image, "logit_scale": torch.tensor(10.0)}
    alike = type(output)(**views)
    texts = torch.arange(4)[:, None]
    drawn = torch.stack([matching._draw_negatives(alike, texts)[0] for _ in range(100)])
    assert (drawn != torch.arange(4)).all()
    partner = torch.tensor([1, 0, 3, 2])
    assert (drawn == partner).float().mean() > 0.9  # by chance it would be a third
    assert config.objectives.distill_similarity.alpha == 0.4


def test_mplug_skips_patches_to_the_fused_layers() -> None:
    _, network, _ = built("mplug")
    assert isinstance(network.fusion, SkipFusion)
    assert [isinstance(block, MergedBlock) for block in network.fusion.blocks] == [False, True]
    config = preset_config("mplug", "base").fusion
    merged = [layer + 1 for layer in range(config.layers) if (layer + 1) % config.merge_every == 0]
    assert merged == [3, 6]
    images: list[Tensor] = []
    network.fusion.blocks[1].register_forward_pre_hook(lambda module, given: images.append(given[0]))
    pairs = flat_pairs()
    output = network.forward_student(pairs)
    network.join(output.image_features[0], output.text_features)  # type: ignore[arg-type]
    tokens = output.image_features[0].tokens
    torch.testing.assert_close(images[0], network.fusion.norm_image(network.fusion.project_image(tokens)))


def test_vlmo_has_an_expert_per_modality_and_shares_attention() -> None:
    """Words train the text expert and the attention; patches the image expert and the attention."""
    _, network, _ = built("vlmo")
    assert isinstance(network.fusion, MergedFusion)
    first, last = network.fusion.blocks
    assert first.feed_forward_image is not None
    assert last.feed_forward_image is None
    patches, words = torch.randn(1, 3, 32), torch.randn(1, 4, 32)
    image, text = first(patches, words, torch.ones(1, 7, 7, dtype=torch.bool), torch.tensor([3]))
    for state, trained, spared in (
        (image, first.feed_forward_image, first.feed_forward),
        (text, first.feed_forward, first.feed_forward_image),
    ):
        network.zero_grad(set_to_none=True)
        state.sum().backward(retain_graph=True)
        assert trained.layers[0].weight.grad is not None
        assert spared.layers[0].weight.grad is None
        assert first.attention.attention.query.weight.grad is not None


def test_blip_filters_captions_by_its_matching_head() -> None:
    """After training, it scores correct captions higher than wrong ones."""
    _, network, objectives = built("blip")
    pairs, matching = flat_pairs(), objective(objectives, "matching")
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(60):
        loss, _ = matching(objectives.head_outputs(network, pairs, network.forward_student(pairs)), None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        captions = pairs.texts[:, None].expand(-1, 4, -1)  # caption j beside each image
        answers = [network.heads["matching"](network.fuse(pairs.clean.images, captions[j])) for j in range(4)]
        scores = torch.stack([answer[:, 1] - answer[:, 0] for answer in answers], dim=1)  # (images, captions)
    assert scores.argmax(dim=1).tolist() == [0, 1, 2, 3]
    assert preset_config("blip", "base").objectives.captioning.through == "fusion"


def test_blip2_trains_its_queries_and_freezes_the_image_tower() -> None:
    _, network, objectives = built("blip2")
    assert isinstance(network.fusion, QueryFusion)
    before = copy.deepcopy(network.state_dict())
    pairs = flat_pairs()
    output = seen(network, objectives, pairs)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.1)
    torch.stack([one(output, None)[0] for one in objectives]).sum().backward()
    optimizer.step()
    after = network.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert not [name for name in moved if name.startswith("towers.clip.visual.")]
    assert "fusion.queries" in moved
    assert preset_config("blip2", "base").fusion.queries == 32


def test_blip2_words_see_the_image_only_through_queries() -> None:
    _, network, _ = built("blip2")
    assert isinstance(network.fusion, QueryFusion)
    pairs = flat_pairs()
    output = network.forward_student(pairs)
    text = output.text_features
    assert text is not None
    for block in network.fusion.blocks:
        if block.cross is not None:
            nn.init.zeros_(block.cross.attention.out.weight)
            nn.init.zeros_(block.cross.attention.out.bias)
    one = network.join(output.image_features[0], text, every_word=True)
    two = network.join(output.image_features[0].rows(torch.tensor([3, 2, 1, 0])), text, every_word=True)
    torch.testing.assert_close(one.words, two.words)  # queries that see nothing tell nothing
    torch.testing.assert_close(one.pooled, two.pooled)


def test_beit3_masks_40_percent_of_the_patches_and_half_of_the_words() -> None:
    config, network, objectives = built("beit3")
    words = objective(objectives, "masked_words")
    torch.manual_seed(0)
    tokens = torch.randint(1, 90, (200, 10))
    masked = words._mask(network, Batch(torch.arange(200), tokens, View(torch.zeros(200, 3, 1, 1)))).masked
    assert float(masked.float().mean()) == pytest.approx(0.5, abs=0.04)
    student = config.views.student
    assert (student.mask, student.mask_share) == (1.0, 0.4)
    assert {one.name for one in objectives} == {"masked_words", "masked_patches"}


def test_stages_are_consistent_and_end_with_the_preset_itself() -> None:
    assert [stage.name for stage in STAGES["vlmo"]] == ["image", "text", "pairs"]
    for name in STAGES:
        for size in SIZES:
            configs = [stage.config for stage in preset_chain(name, size).stages]
            assert [problems(config) for config in configs] == [{}] * len(configs)
            assert configs[-1].model_copy(update={"name": name}) == preset_config(name, size)
    image, text, _ = (stage.config for stage in preset_chain("vlmo").stages)
    assert image.objectives.masked_words.weight == 0.0
    assert text.towers.freeze == "image"
