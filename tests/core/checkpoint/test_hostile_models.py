"""Models of anybody's: folders, checkpoints and weights are opened or refused in a sentence.

Every folder has code planted in it that leaves a trace when it runs, and every contact with a network is recorded. The
long variant (``-m slow``) tries ten times as many inputs.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import socket
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from core.checkpoint import files as checkpoint
from core.checkpoint.files import CheckpointInfo, CheckpointState
from core.checkpoint.opening import open_model
from core.model.errors import ModelError
from core.model.towers.formats.description import check_description
from core.model.towers.formats.huggingface import to_clip_model
from core.model.towers.pretrained import read_weights
from core.model.towers.towers import build_towers, list_architectures, resolve_architecture
from core.objectives.build import build_network
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from tests.mutations import feed, mutated, survives

CONFIG = override(preset_config("clip", "tiny"), ["runtime.threads=1", "runtime.device=cpu"])
MODEL = resolve_architecture("sd-tiny")
DESCRIPTION = {"model_cfg": MODEL, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "size": 32}}
EVIL = """
from pathlib import Path
from transformers import CLIPTokenizer
Path({trace!r}).touch()
class Evil(CLIPTokenizer): pass
"""
# What a stranger would like to have opened for them; FOLDER stands for the model's own folder.
WISHES: list[Any] = [
    "FOLDER", "FOLDER/evil", "evil", "./evil", "local-dir:FOLDER", "hf-hub:stranger/model", "stranger/model",
    "roberta-base", "https://stranger.example/model", "//stranger.example/share", "FOLDER/pipe", "/dev/zero", "(((",
    ["((("],
    {"trust_remote_code": True}, {"bpe_path": "FOLDER/pipe"}, {"bpe_path": "FOLDER/bomb.gz"}, {"code_revision": "x"},
    {"additional_special_tokens": ["((("]}, {"additional_special_tokens": ["(a+)+$"]}, {"reduction_mask": "syntax"},
    {"device": "cuda"}, {"eps": 0}, 0, -1, 1, 2, 7, 255, 256, 1023, 10**6, 2**31, 2**62, 0.5, [1, 1, 1, 1],
    [200, 1, 1, 1], [10**9] * 4, [32, 64], [], {}, None, True, False, "none", "map", "resnet50",
    "vit_giant_patch14_dinov2",
]  # fmt: skip
KEYS = [
    ("embed_dim",), ("quick_gelu",), ("custom_text",), ("init_logit_scale",), ("multimodal_cfg",),
    *(("vision_cfg", key) for key in (
        "layers", "width", "head_width", "patch_size", "image_size", "mlp_ratio", "timm_model_name", "timm_pool",
        "timm_proj", "timm_model_pretrained", "pool_type", "act_kwargs", "norm_kwargs", "attentional_pool",
        "block_type", "pos_embed_type", "patch_dropout", "output_tokens", "attn_pooler_queries", "ls_init_value",
    )),
    *(("text_cfg", key) for key in (
        "layers", "width", "heads", "vocab_size", "context_length", "hf_tokenizer_name", "hf_model_name",
        "tokenizer_kwargs", "tokenizer_mode", "hf_model_pretrained", "hf_pooler_type", "pool_type", "proj_type",
        "act_kwargs", "embed_cls",
        "no_causal_mask", "eos_id", "pad_id", "output_tokens", "trust_remote_code",
    )),
]  # fmt: skip


class Planted:
    """Runs when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return (Path.touch, (self.trace,))


@pytest.fixture
def contacts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was asked of a network, which is refused; none at the end of the test."""
    asked: list[str] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(str(arguments)[:200])
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield asked
    assert not asked


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model``, a folder as open_clip saves one, and ``run`` with a checkpoint; planted code makes ``trace``."""
    root = tmp_path_factory.mktemp("hostile")
    folder = root / "model"
    (folder / "evil").mkdir(parents=True)
    torch.manual_seed(0)
    student = build_network(CONFIG, MODEL)
    save_file(student.towers.clip.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(DESCRIPTION), encoding="utf-8")
    os.mkfifo(folder / "pipe")
    (root / "clip").mkdir()
    config, weights = to_clip_model(MODEL, student.towers.clip.state_dict())
    save_file(weights, root / "clip" / "model.safetensors")
    (root / "clip" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save({"state_dict": {"a": torch.zeros(3), "b": torch.zeros(2, 2)}, "epoch": 3}, root / "weights.pt")
    for place in (folder, folder / "evil"):
        tokenizer = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
        (place / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        code = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
        (place / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": code}), encoding="utf-8")
        (place / "evil.py").write_text(EVIL.format(trace=str(root / "trace")), encoding="utf-8")
        (place / "vocab.pkl").write_bytes(pickle.dumps(Planted(root / "trace")))
    run = RunDir(root / "run")
    run.create()
    info = CheckpointInfo(1, 9, CONFIG.model_dump(mode="json"), MODEL, score=0.5, best_score=0.5)
    checkpoint.save(run, info, CheckpointState(student.state_dict(), {}, {"rng.cpu": torch.get_rng_state()}), keep=1)
    return root


def use(name: Path) -> None:
    """Open a model and encode with it."""
    network = open_model(str(name)).network
    side = network.image_size
    with torch.no_grad():
        network.encode_images(torch.zeros(2, 3, side, side, dtype=torch.uint8))
        network.encode_texts(network.towers.tokenize(["a red square", ""]))


def wished(folder: Path, description: dict[str, Any], at: tuple[str, ...], value: Any) -> dict[str, Any]:
    """``description`` with ``value`` for one of its settings."""
    description = copy.deepcopy(description)
    part = description.get("model_cfg", description)
    for key in at[:-1]:
        part = part[key]
    part[at[-1]] = json.loads(json.dumps(value).replace("FOLDER", str(folder)))
    return description


def wishes() -> st.SearchStrategy[tuple[tuple[str, ...], Any]]:
    return st.tuples(st.sampled_from(KEYS), st.sampled_from(WISHES))


def folders() -> st.SearchStrategy[Any]:
    return st.one_of(wishes(), wishes(), mutated(DESCRIPTION))


def checkpoints() -> st.SearchStrategy[Any]:
    whole = asdict(CheckpointInfo(1, 9, CONFIG.model_dump(mode="json"), MODEL, score=0.5, best_score=0.5))
    return st.one_of(wishes(), wishes(), mutated(whole))


def try_folder(source: Path, given: bytes | tuple[tuple[str, ...], Any]) -> None:
    folder = source / "model"
    if isinstance(given, tuple):
        given = json.dumps(wished(folder, DESCRIPTION, *given)).encode()
    (folder / "open_clip_config.json").write_bytes(given)
    try:
        survives(lambda: use(folder))
    finally:
        (folder / "open_clip_config.json").write_text(json.dumps(DESCRIPTION), encoding="utf-8")
    assert not (source / "trace").exists(), "code of the folder ran"


def try_checkpoint(source: Path, given: bytes | tuple[tuple[str, ...], Any]) -> None:
    path = source / "run" / "checkpoints" / "step-00000001" / "checkpoint.json"
    before = path.read_bytes()
    if isinstance(given, tuple):
        raw = json.loads(before)
        given = json.dumps(raw | {"model": wished(source / "model", raw["model"], *given)}).encode()
    path.write_bytes(given)
    try:
        survives(lambda: use(source / "run"))
    finally:
        path.write_bytes(before)
    assert not (source / "trace").exists(), "code of the folder ran"


def try_weights(source: Path, header: bytes) -> None:
    """The model's weights with another header."""
    path = source / "model" / "open_clip_model.safetensors"
    before = path.read_bytes()
    size = int.from_bytes(before[:8], "little")
    path.write_bytes(len(header).to_bytes(8, "little") + header + before[8 + size :])
    try:
        survives(lambda: use(source / "model"))
    finally:
        path.write_bytes(before)


def try_clip_model(source: Path, given: bytes) -> None:
    """A folder as transformers saves a CLIPModel, with another ``config.json``."""
    path = source / "clip" / "config.json"
    before = path.read_bytes()
    path.write_bytes(given)
    try:
        survives(lambda: use(source / "clip"))
    finally:
        path.write_bytes(before)


def try_archive(source: Path, changes: list[tuple[int, int]]) -> None:
    """A file as torch.save writes one, with other bytes."""
    content = bytearray((source / "weights.pt").read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    path = source / "changed.pt"
    path.write_bytes(content)
    survives(lambda: read_weights(path))


def archives() -> st.SearchStrategy[list[tuple[int, int]]]:
    return st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4)


def header() -> Any:
    """Of the model's weights, as `source` saves them."""
    content = save(build_towers(MODEL).clip.state_dict())
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


@pytest.mark.parametrize("name", ["model", "run", "clip"])
def test_the_valid_base_models_can_be_opened(source: Path, contacts: list[str], name: str) -> None:
    use(source / name)


ATTEMPTS: list[tuple[Callable[[Path, Any], None], st.SearchStrategy[Any], int]] = [  # and examples that are quick
    (try_folder, folders(), 25),
    (try_checkpoint, checkpoints(), 15),
    (try_weights, mutated(header()), 10),
    (try_clip_model, mutated(to_clip_model(MODEL, {})[0]), 10),
    (try_archive, archives(), 50),
]


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("attempt", "inputs", "examples"), ATTEMPTS)
def test_hostile_models_run_no_code_contact_no_network_and_are_opened_or_refused(
    source: Path, contacts: list[str], attempt: Callable[[Path, Any], None], inputs: Any, examples: int, times: int
) -> None:
    feed(lambda value: attempt(source, value), inputs, examples * times)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (("text_cfg", "hf_tokenizer_name"), "FOLDER", "not the name of a published model"),
        (("text_cfg", "hf_tokenizer_name"), "evil", "evil is not on this machine"),
        (("text_cfg", "hf_model_name"), "evil", "evil is not on this machine"),
        (("text_cfg", "tokenizer_kwargs"), {"trust_remote_code": True}, "trust_remote_code is not an allowed setting"),
        (("text_cfg", "tokenizer_kwargs"), {"bpe_path": "FOLDER/pipe"}, "bpe_path is not an allowed setting"),
        (("text_cfg", "vocab_size"), 49407, "does not (fit|match)|mismatched"),
        (("vision_cfg", "timm_model_name"), "hf-hub:stranger/model", "not the name of a published model"),
        (("vision_cfg", "layers"), 200, "vision_cfg has 200 layers, but there are"),
        (("vision_cfg", "width"), 30_000, "cannot be|does not (fit|match)"),
        (("text_cfg", "vocab_size"), 4_000_000, "network has .* parameters, but the weights"),
    ],
)  # fmt: skip
def test_files_named_by_a_folder_are_not_run_fetched_or_built(
    source: Path, contacts: list[str], monkeypatch: pytest.MonkeyPatch, at: tuple[str, ...], value: Any, said: str
) -> None:
    folder = source / "model"
    monkeypatch.chdir(folder)  # where "evil" is a folder
    path = folder / "open_clip_config.json"
    path.write_text(json.dumps(wished(folder, DESCRIPTION, at, value)), encoding="utf-8")
    try:
        with pytest.raises(UserError, match=said):
            use(folder)
    finally:
        path.write_text(json.dumps(DESCRIPTION), encoding="utf-8")
    assert not (source / "trace").exists()


def test_every_published_architecture_passes_validation() -> None:
    for name in list_architectures():
        check_description(resolve_architecture(name), name)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("model", "open_clip_model.safetensors"),
        ("clip", "model.safetensors"),
        ("run", "checkpoints/step-00000001/student.safetensors"),
    ],
)
def test_a_header_of_many_empty_tensors_is_refused_before_it_is_parsed(source: Path, name: str, file: str) -> None:
    entries = b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % number for number in range(400_000))
    path = source / name / file
    before = path.read_bytes()
    path.write_bytes((len(entries) + 2).to_bytes(8, "little") + b"{" + entries + b"}")

    def read() -> None:
        with pytest.raises(UserError, match="its header is too long"):
            use(source / name)

    try:
        survives(read)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", ["model/open_clip_model", "run/checkpoints/step-00000001/student"])
def test_an_additional_tensor_with_an_impossible_side_is_refused(source: Path, name: str) -> None:
    path = source / f"{name}.safetensors"
    before = path.read_bytes()
    size = int.from_bytes(before[:8], "little")
    entries = json.loads(before[8 : 8 + size]) | {"huge": {"dtype": "F32", "shape": [2**63, 0], "data_offsets": [0, 0]}}
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + before[8 + size :])

    def read() -> None:
        with pytest.raises(UserError, match=r"huge|damaged|cannot be read|cannot read"):
            use(source / name.split("/")[0])

    try:
        survives(read)
    finally:
        path.write_bytes(before)


def deflated(path: Path) -> None:
    torch.save({"a": torch.zeros(1000, 1000)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


class Claim:
    """A gigabyte by number alone."""

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return bytearray, (10**9,)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (deflated, "is compressed"),
        (
            lambda path: torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path),
            "claim more data than the file has",
        ),
        (lambda path: torch.save({"a": torch.empty(10**6, 10**6, device="meta")}, path), "claim more data"),
        (lambda path: torch.save({"a": Claim()}, path), "contains objects other than tensors"),
    ],
)  # fmt: skip
def test_weights_larger_in_memory_than_their_file_are_refused(
    tmp_path: Path, write: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "weights.pt"
    write(path)

    def read() -> None:
        with pytest.raises(ModelError, match=said) as caught:
            read_weights(path)
        raise caught.value

    survives(read)
