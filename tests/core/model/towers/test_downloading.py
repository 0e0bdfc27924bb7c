"""Fetching weights from a simulated hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from core.model.errors import ModelError
from core.model.towers import downloading
from core.model.towers.architectures import resolve_architecture
from core.model.towers.downloading import DownloadError, download
from core.model.towers.towers import build_towers


class Stop(Exception):
    """The user's."""


def stop(*_: object) -> None:
    raise Stop


def test_a_progress_callback_can_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(repository: str, file: str, *, tqdm_class: Any) -> str:
        try:
            with tqdm_class(total=100, initial=0, unit="B", unit_scale=True, desc=file, name="x") as bar:
                bar.update(50)
        except Exception as error:
            raise OSError("the library's own words") from error
        return ""

    monkeypatch.setattr(downloading, "hf_hub_download", fetch)
    with pytest.raises(Stop):
        download({"hf_hub": "owner/repository/"}, stop)


def cached(folder: Path, repository: str, files: dict[str, str]) -> Path:
    """A repository in the hub's cache ``folder``, as its library keeps one; the folder of its files."""
    kept = folder / f"models--{repository.replace('/', '--')}"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc")
    (kept / "snapshots" / "abc").mkdir(parents=True)
    for name, text in files.items():
        (kept / "snapshots" / "abc" / name).write_text(text, encoding="utf-8")
    return kept / "snapshots" / "abc"


def hub(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], folder: Path) -> list[str]:
    """A hub of one repository, whose first file is half here already; returns what was asked for."""
    asked: list[str] = []

    def fetch(repository: str, file: str, *, tqdm_class: Any) -> str:
        assert repository == "owner/repository"
        asked.append(file)
        if file not in files:
            raise EntryNotFoundError(f"404: {file}")
        with tqdm_class(total=4_000_000, initial=2_000_000, mininterval=0, unit="B", desc=file, name="hub") as bar:
            bar.update(1_000_000)
            bar.update(1_000_000)
        (folder / file).write_bytes(files[file])
        return str(folder / file)

    monkeypatch.setattr(downloading, "hf_hub_download", fetch)
    return asked


@pytest.mark.parametrize(
    ("name", "files", "asked"),
    [
        ("owner/repository/", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"], 1),
        ("owner/repository/", ["open_clip_pytorch_model.bin"], 2),
        ("owner/repository/own.bin", ["own.safetensors"], 1),
        ("owner/repository/own.pt", ["own.pt"], 2),
    ],
)
def test_from_the_hub_safetensors_come_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    name: str, files: list[str], asked: int,
) -> None:  # fmt: skip
    wanted = hub(monkeypatch, {file: file.encode() for file in files}, tmp_path)
    told: list[tuple[str, int, int]] = []
    assert download({"hf_hub": name}, lambda *what: told.append(what)).read_bytes() == files[0].encode()
    assert len(wanted) == asked
    assert told[0][1:] == (2, 4)  # from where it stopped
    assert told[-1][1:] == (4, 4)
    assert capsys.readouterr() == ("", "")


def test_existing_files_are_not_downloaded_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    file = cached(tmp_path, "owner/repository", {"open_clip_model.safetensors": "x"}) / "open_clip_model.safetensors"
    assert download({"hf_hub": "owner/repository/"}) == file


def test_an_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("cannot find the requested files, and the hub is out of reach")

    monkeypatch.setattr(downloading, "hf_hub_download", fetch)
    with pytest.raises(DownloadError, match="out of reach"):
        download({"hf_hub": "owner/repository/"})


def test_a_cached_text_model_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A text tower and a tokenizer of transformers, as roberta-ViT-B-32 has; code in their repository is not run."""
    words = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "red": 2, "cat": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    code = {"auto_map": {"AutoTokenizer": ["evil.Evil", None], "AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]", **code}
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    files = {
        "tokenizer.json": words.to_str(),
        "tokenizer_config.json": json.dumps(settings),
        "config.json": json.dumps({"model_type": "bert", "vocab_size": 4, "pad_token_id": 0, **sizes, **code}),
        "evil.py": f"open({str(tmp_path / 'trace')!r}, 'w')",
    }
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    contacts: list[object] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *arguments, **_: contacts.append(arguments))
    text = {"hf_model_name": "owner/words", "hf_tokenizer_name": "owner/words", "hf_pooler_type": "mean_pooler"}
    model_cfg = {**resolve_architecture("sd-tiny"), "text_cfg": {**text, "context_length": 8}}
    with pytest.raises(ModelError, match=r"the text model owner/words is not on this machine; .* hf download owner/w"):
        build_towers(model_cfg)
    folder = cached(tmp_path, "owner/words", files)
    towers = build_towers(model_cfg)
    tokens = towers.tokenize(["red cat", "a dog"])
    assert tokens[:, :3].tolist() == [[2, 3, 0], [1, 1, 0]]
    assert towers.encode_text(tokens).pooled.shape == (2, towers.embed_dim)
    (folder / "config.json").write_text(json.dumps({"model_type": "evil", **code}))
    with pytest.raises(
        ModelError, match="the text model owner/words has the unsupported type evil; supported: roberta"
    ):
        build_towers(model_cfg)
    assert not contacts
    assert not (tmp_path / "trace").exists()


def test_all_weights_of_open_clip_are_on_the_hub() -> None:
    tags = [open_clip.get_pretrained_cfg(*tag) for tag in open_clip.list_pretrained()]
    assert all(tag["hf_hub"] for tag in tags)
