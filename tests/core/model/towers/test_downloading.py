"""Fetching weights: from a server on this machine that breaks off, and from a hub that is played."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SUM = hashlib.sha256(CONTENT).hexdigest()[:8]


class Server(ThreadingHTTPServer):
    """Sends CONTENT; ``cut`` ends the next answer early, ``ranges`` is whether it can begin in the middle."""

    daemon_threads = True
    cut = 0
    ranges = True
    asked: list[str | None]


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        begin = int(wanted[6:-1]) if wanted and self.server.ranges else 0
        if begin >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        end = self.server.cut or len(CONTENT)
        self.server.cut = 0
        self.wfile.write(CONTENT[begin:end])

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setattr(downloading, "_cache_folder", lambda: tmp_path / "cache")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server(("127.0.0.1", 0), Answer)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server: Server, checksum: str = SUM) -> dict[str, str]:
    return {"url": f"http://127.0.0.1:{server.server_port}/mlfoundations/weights-{checksum}.pt"}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_resumed(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.cut, server.ranges = 1_500_000, ranges
    with pytest.raises(DownloadError, match=r"1500000 of 3072000 bytes; try again to resume|IncompleteRead"):
        download(address(server))
    told: list[tuple[str, int, int]] = []
    path = download(address(server), lambda *what: told.append(what))
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1500000-"]
    assert told[-1] == ("downloading the weights (MB)", 3, 3)
    assert told[0][1] >= (2 if ranges else 1)
    assert download(address(server)) == path
    assert len(server.asked) == 2  # nothing is fetched twice
    assert [item.name for item in (tmp_path / "cache").iterdir()] == [path.name]


def test_a_complete_partial_file_is_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"weights-{SUM}.pt.part").write_bytes(CONTENT)
    assert download(address(server)).read_bytes() == CONTENT


def test_a_file_with_a_wrong_checksum_is_not_used(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="does not match the checksum"):
        download(address(server, "00000000"))
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_server_no_file_is_left() -> None:
    with pytest.raises(DownloadError, match=r"refused|urlopen"):
        download({"url": "http://127.0.0.1:9/weights.pt"})


class Stop(Exception):
    """The user's."""


def stop(*_: object) -> None:
    raise Stop


def test_a_progress_callback_can_cancel(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stop):
        download(address(server), stop)

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
    with pytest.raises(ModelError, match="the text model owner/words is a evil; open_clip supports roberta"):
        build_towers(model_cfg)
    assert not contacts
    assert not (tmp_path / "trace").exists()
