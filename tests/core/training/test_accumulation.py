"""Cached features: whatever is trained on, the gradient of a batch taken in chunks is the large batch's."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.data.batch import Batch, View
from core.model.network import Network
from core.model.towers.image import ImageFeatures
from core.model.towers.towers import build_towers, resolve_architecture
from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, EventWriter, Log
from core.spec.run.folder import RunDir
from core.training.accumulation import in_chunks, micro_batch_warning
from core.training.loop import Loop
from core.training.progress import Heartbeat
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.variants import each_preset, weights_to_start_from


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    train, _ = write_pairs(folder)
    lines = train.read_text().splitlines()
    labelled = [f"{lines[0]},group", *(f"{line},{line.split()[2]}" for line in lines[1:])]
    train.write_text("\n".join(labelled) + "\n")
    return train


@pytest.fixture(scope="module")
def former(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch for presets whose teacher is a former one; it tells classes apart."""
    run = RunDir(tmp_path_factory.mktemp("former") / "run")
    settings = [f"data.train={data}", "data.label=group", "objectives.classification.weight=1", "runtime.threads=1"]
    train(
        override(preset_config("clip", "tiny"), [*settings, "optim.batch_size=12", "optim.epochs=1"]), run, quiet=True
    )
    return run.path


def gradients(data: Path, folder: Path, config: RunConfig, rows: int) -> tuple[float, dict[str, Tensor]]:
    """The loss of the first batch of ``config``, and its gradient of every parameter."""
    settings = [f"data.train={data}", f"optim.micro_batch={rows}", "runtime.threads=1"]
    if not config.data.unlabelled_ratio:  # whose batches are small already
        settings.append("optim.batch_size=12")
    if config.teacher.kind in ("ema", "ema-state"):
        settings.append("teacher.momentum=0.5")
    config = override(config, settings)
    run = RunDir(folder)
    run.create()
    events = EventWriter(run.events)
    loop = Loop(config, run, events, Heartbeat(run, quiet=True), threading.Event())
    batch = next(loop.parts.loader.batches(0, 1))
    torch.manual_seed(3)
    losses, _ = loop.step_losses(loop.parts.to_device(batch), loop.total_steps)  # when every ramp is over
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    found = {name: p.grad for name, p in loop.network.named_parameters() if p.grad is not None}
    events.close()
    return float(total.detach()), found


SIMILAR = ("blip", "born-again", "mean-teacher", "sd-clip-adapt", "siglip", "slip", "vlmo")  # others have their parts


# EMAN's network normalises over the batch, so that each chunk has statistics of its own, as tested below.
@pytest.mark.parametrize(
    "preset", [*each_preset("eman", *SIMILAR), *(pytest.param(name, marks=pytest.mark.slow) for name in SIMILAR)]
)
def test_the_gradient_of_chunks_equals_that_of_the_large_batch(
    preset: str, data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config = preset_config(preset, "tiny")
    if config.teacher.kind == "frozen":
        former = request.getfixturevalue("former")
        config = config.model_copy(update={"teacher": config.teacher.model_copy(update={"checkpoint": str(former)})})
    if config.teacher.kind == "initial":
        towers = config.towers.model_copy(update={"pretrained": weights_to_start_from(config, data.parent)})
        config = config.model_copy(update={"towers": towers})
    whole, expected = gradients(data, tmp_path / "whole", config, 0)
    rows = min(5, config.optim.batch_size - 1)
    chunked, found = gradients(data, tmp_path / "chunks", config, rows)
    assert chunked == pytest.approx(whole, rel=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-5), name


def network_with(vision: dict[str, Any]) -> Network:
    torch.manual_seed(0)
    model = resolve_architecture("sd-tiny")
    return Network(build_towers({**model, "vision_cfg": {**model["vision_cfg"], **vision}})).train()


def batch_of(network: Network, rows: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    side = network.image_size
    images = torch.randint(0, 256, (rows, 3, side, side), generator=generator, dtype=torch.uint8)
    texts = network.towers.tokenize([f"image {i}" for i in range(rows)])
    return Batch(torch.arange(rows), texts, View(images))


def loss_of(network: Network, batch: Batch) -> Tensor:
    output = network.forward_student(batch)
    logits = output.logit_scale * output.clean.image @ output.text.T
    return nn.functional.cross_entropy(logits, torch.arange(len(logits)))


def test_a_patched_method_is_restored() -> None:
    network = network_with({})
    plain = network.towers.encode_image
    with in_chunks(network, 4):
        assert vars(network.towers)["encode_image"] is not plain
    assert "encode_image" not in vars(network.towers), "its class's own"
    network.towers.encode_image = plain  # type: ignore[method-assign]
    with in_chunks(network, 4), in_chunks(network, 2):
        assert network.towers.encode_image is not plain
    assert vars(network.towers)["encode_image"] is plain


def test_random_draws_are_replayed() -> None:
    """Patch dropout draws the same patches the second time, or the gradient would be of another loss."""
    network, rows = network_with({"patch_dropout": 0.5}), 4
    batch = batch_of(network, 10)
    torch.manual_seed(5)
    with in_chunks(network, rows):
        loss_of(network, batch).backward()
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad(set_to_none=True)

    plain = network.towers.encode_image

    def by_hand(images: Tensor, *_asked: Any) -> ImageFeatures:  # the same draws in the same order, everything kept
        parts = [plain(images[start : start + rows]) for start in range(0, len(images), rows)]
        return ImageFeatures(
            torch.cat([part.pooled for part in parts]), torch.cat([part.before_projection for part in parts]), None
        )

    network.towers.encode_image = by_hand  # type: ignore[method-assign]
    torch.manual_seed(5)
    loss_of(network, batch).backward()
    assert found
    for name, gradient in found.items():
        largest = float(gradient.abs().max())  # sums in another order differ by the rounding of their largest terms
        assert torch.allclose(dict(network.named_parameters())[name].grad, gradient, atol=1e-5 * largest), name  # type: ignore[arg-type]


def test_batch_norm_counts_each_chunk_once() -> None:
    """Statistics are those of a chunk, and computing it again for the gradient does not move them."""
    torch.manual_seed(0)
    network = network_with({})
    norm = nn.BatchNorm1d(network.towers.embed_dim)
    plain = network.towers.encode_image

    class WithNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = norm

    network.towers.add_module("after", WithNorm())

    def encode(images: Tensor, *_asked: Any) -> ImageFeatures:
        features = plain(images)
        return ImageFeatures(norm(features.pooled), features.before_projection, features.tokens)

    network.towers.encode_image = encode  # type: ignore[method-assign]
    batch = batch_of(network, 12)
    with in_chunks(network, 4):
        loss_of(network, batch).backward()
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 3


def test_fewer_activations_are_kept() -> None:
    """What autograd keeps of a batch in chunks is a small part of what it keeps of the whole."""

    def kept(rows: int) -> int:
        network = network_with({})
        batch = batch_of(network, 48)
        sizes: dict[int, int] = {}

        def note(x: Tensor) -> Tensor:
            sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with in_chunks(network, rows), torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            loss_of(network, batch)
        return sum(sizes.values())

    assert kept(4) < kept(0) / 2


def test_batch_norm_in_chunks_gives_a_warning() -> None:
    """A ResNet's towers see batches that are not the config's; a ViT's steps are the same."""
    torch.manual_seed(0)
    model = resolve_architecture("sd-tiny")
    resnet = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}
    normed = Network(build_towers({**model, "vision_cfg": resnet})).train()
    assert "uses statistics of 4 pairs (optim.micro_batch) instead of all 12" in micro_batch_warning(normed, 4, 12)
    assert (
        micro_batch_warning(normed, 0, 12)
        == micro_batch_warning(normed, 12, 12)
        == micro_batch_warning(network_with({}), 4, 12)
        == ""
    )


def test_the_warning_is_in_the_events(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    gradients(data, tmp_path / "run", preset_config("eman", "tiny"), 3)
    events = EventReader(RunDir(tmp_path / "run").events).read_all()
    assert [event for event in events if isinstance(event, Log) and "batch norm" in event.message]
