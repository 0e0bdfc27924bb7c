"""Weights from files, folders, former runs and tags; what does not fit, and what is not opened."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.pretrained import get_pretrained_cfg
from safetensors.torch import save_file

from core.checkpoint.opening import open_model
from core.model.errors import ModelError
from core.model.towers import pretrained
from core.model.towers.downloading import DownloadError
from core.model.towers.towers import Towers, build_towers, load_pretrained, resolve_architecture

TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}


def build(seed: int, **vision: Any) -> Towers:
    torch.manual_seed(seed)
    return build_towers({"embed_dim": 8, "vision_cfg": {**VISION, **vision}, "text_cfg": TEXT})


def same(one: Towers, two: Towers) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_copied_checkpoint_reproduces_its_teacher(tmp_path: Path) -> None:
    student, teacher, towers = build(1), build(2), build(3)
    for name, source in (("state", student), ("student", student), ("teacher", teacher)):
        save_file(
            {f"towers.{key}": value for key, value in source.state_dict().items()}, tmp_path / f"{name}.safetensors"
        )
    load_pretrained(towers, "sd-tiny", str(tmp_path))
    assert same(teacher, towers)
    (tmp_path / "teacher.safetensors").unlink()
    load_pretrained(towers, "sd-tiny", str(tmp_path))
    assert same(student, towers)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("as_folder", [False, True])
def test_files_and_folders(tmp_path: Path, suffix: str, as_folder: bool) -> None:
    source, towers = build(1), build(2)
    path = tmp_path / f"open_clip_model{suffix}"
    state = source.clip.state_dict()
    if suffix == ".safetensors":
        save_file(state, path)
    else:  # as open_clip_train saves it
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    assert not same(source, towers)
    load_pretrained(towers, "sd-tiny", str(tmp_path if as_folder else path))
    assert same(source, towers)


def test_a_folder_prefers_open_clips_name_and_safetensors(tmp_path: Path) -> None:
    good, other = build(1), build(3)
    save_file(good.clip.state_dict(), tmp_path / "open_clip_model.safetensors")
    save_file(other.clip.state_dict(), tmp_path / "another.safetensors")
    torch.save(other.clip.state_dict(), tmp_path / "open_clip_model.bin")
    towers = build(2)
    load_pretrained(towers, "sd-tiny", str(tmp_path))
    assert same(good, towers)


def test_positions_are_resized_to_another_image_size(tmp_path: Path) -> None:
    save_file(build(1).clip.state_dict(), tmp_path / "model.safetensors")
    towers = build(2, image_size=64)
    load_pretrained(towers, "sd-tiny", str(tmp_path))
    assert towers.clip.visual.positional_embedding.shape == (65, 16)


@pytest.mark.parametrize(
    ("vision", "message"),
    [({"width": 32}, "mismatched"), ({"layers": 2}, "visual.transformer.resblocks.1.* is missing")],
)
def test_another_architecture_is_refused_before_loading(tmp_path: Path, vision: dict[str, Any], message: str) -> None:
    save_file(build(1).clip.state_dict(), tmp_path / "model.safetensors")
    towers, untouched = build(2, **vision), build(2, **vision)
    with pytest.raises(ModelError, match=message):
        load_pretrained(towers, "sd-tiny", str(tmp_path))
    assert same(towers, untouched)


class Payload:
    """What a hostile file would carry: running it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


def test_pickles_are_never_executed(tmp_path: Path) -> None:
    path, trace = tmp_path / "model.bin", tmp_path / "trace"
    torch.save({"state_dict": Payload(trace)}, path)
    with pytest.raises(ModelError, match=r"model\.bin contains objects other than tensors, so it was not loaded"):
        load_pretrained(build(1), "sd-tiny", str(path))
    path.write_bytes(pickle.dumps(Payload(trace), protocol=2))
    with pytest.raises(ModelError, match=r"model\.bin"):
        load_pretrained(build(1), "sd-tiny", str(path))
    assert not trace.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"no weights"])
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_pretrained(build(1), "sd-tiny", str(tmp_path / name))


def test_files_that_are_not_weights(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="is not a state dict of tensors"):
        load_pretrained(build(1), "sd-tiny", str(tmp_path / "list.pt"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"contains no weights; put open_clip_model\.safetensors into it"):
        load_pretrained(build(1), "sd-tiny", str(tmp_path / "empty"))


def test_unknown_tags_list_the_existing_ones() -> None:
    with pytest.raises(ModelError, match=r"'laion2b_e61' is neither .* nor a tag of ViT-B-32; .*laion2b_e16"):
        load_pretrained(build(1), "ViT-B-32", "laion2b_e61")
    with pytest.raises(ModelError, match="choose a path"):
        load_pretrained(build(1), "sd-tiny", "openai")


def test_a_hub_repository_is_answered_with_its_download_command() -> None:
    with pytest.raises(ModelError, match=r"hf download laion/CLIP-ViT-B-32 --local-dir FOLDER, and set architecture"):
        pretrained.find_weights("ViT-B-32", "hf-hub:laion/CLIP-ViT-B-32")


def test_without_a_network_the_folder_to_fill_is_named_and_used(
    monkeypatch: pytest.MonkeyPatch, user_folders: Path
) -> None:
    def fetch(tag: dict[str, Any], progress: object) -> Path:
        assert tag["hf_hub"]
        raise DownloadError("no route to host")

    monkeypatch.setattr(pretrained, "download", fetch)
    folder = pretrained.weights_folder("ViT-B-32", "laion2b_e16")
    assert folder.is_relative_to(user_folders)
    message = rf"no route to host.*put open_clip_model\.safetensors into the folder {folder}"
    with pytest.raises(ModelError, match=message):
        load_pretrained(build(1), "ViT-B-32", "laion2b_e16")
    folder.mkdir(parents=True)
    source, towers = build(1), build(2)
    save_file(source.clip.state_dict(), folder / "open_clip_model.safetensors")
    load_pretrained(towers, "ViT-B-32", "laion2b_e16")
    assert same(source, towers)


@pytest.mark.parametrize("tag", ["mscoco_finetuned_laion2b_s13b_b90k", "mscoco-finetuned-laion2B-s13B-b90k"])
def test_weights_with_known_weaknesses_are_named(tag: str) -> None:
    assert "cannot search or classify (0.8 % zero-shot" in pretrained.known_problem("coca_ViT-B-32", tag)
    assert not pretrained.known_problem("coca_ViT-B-32", "laion2b_s13b_b90k")
    for architecture, known in pretrained.KNOWN_PROBLEMS:
        assert known in open_clip.list_pretrained_tags_by_model(architecture)


def test_a_tag_of_another_activation_is_refused() -> None:
    with pytest.raises(ModelError, match=r"openai were trained with QuickGELU, .* choose ViT-B-32-quickgelu"):
        load_pretrained(build(1), "ViT-B-32", "openai")


def test_weights_bring_their_activation() -> None:
    """Of every published pair the architecture is the one that open_clip has for its weights' activation."""
    for name, tag in open_clip.list_pretrained():
        needs_quick_gelu = bool(get_pretrained_cfg(name, tag).get("quick_gelu"))
        plain, config = open_clip.get_model_config(name), resolve_architecture(name, tag)
        config.pop("preprocess_cfg", None)  # how the tag's images are prepared
        assert config == (
            open_clip.get_model_config(f"{name}-quickgelu")
            if needs_quick_gelu and not plain.get("quick_gelu")
            else plain
        ), (name, tag)


def test_the_model_that_readme_and_errors_recommend_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("find_weights", "read_weights", "fit_weights"):
        monkeypatch.setattr(f"core.model.towers.towers.{name}", lambda *_: {})
    assert open_model("open_clip:ViT-B-32,openai").network.towers.quick_gelu


def test_a_tag_brings_its_normalisation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "open_clip_model.safetensors"
    save_file(build(1).clip.state_dict(), path)
    monkeypatch.setattr(pretrained, "download", lambda tag, progress: path)
    towers = build(2)
    load_pretrained(towers, "ViT-B-16-SigLIP", "webli")
    assert towers.image_mean == (0.5, 0.5, 0.5)
    assert towers.state_dict()["pixel_mean"].tolist() == [0.5, 0.5, 0.5]


def test_weights_that_are_a_pipe_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="is a named pipe"):
        pretrained.read_weights(tmp_path / "weights.safetensors")
