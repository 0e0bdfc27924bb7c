"""Published weights fetched to this machine, with progress, taken up where a broken download stopped.

Flow: ``core.model.towers.pretrained`` asks for the file of an open_clip tag. From a hub by huggingface_hub, which
keeps what it has and goes on; from a plain address here, checked against the sum in the address, as open_clip checks
it. Tokenizers and text models of transformers that an architecture names are fetched by ``fetch_architecture`` alone,
which is called for published architectures that a user chose; building a network only looks for what is there.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from tqdm import tqdm

from core.model.errors import ModelError
from core.model.towers.architectures import is_published, resolve_architecture

Progress = Callable[[str, int, int], None]

_DOING = "downloading the weights (MB)"
_MEGABYTE = 1_000_000
_PIECE = 1 << 20  # bytes read at once
_TIMEOUT = 30.0  # seconds without an answer


class DownloadError(Exception):
    """The weights could not be fetched; the message is the reason."""


def download(tag: dict[str, Any], progress: Progress | None = None) -> Path:
    """The weights of open_clip's tag (``hf_hub`` or ``url``), which may lie here already.

    ``progress`` hears megabytes and may raise to end the work; the next call goes on from there. Raises DownloadError.
    """
    report = _Progress(progress or (lambda *_: None))
    try:
        if tag.get("hf_hub"):
            return _from_hub(str(tag["hf_hub"]), report)
        return _from_address(str(tag["url"]), _cache_folder(), report)
    # A failed download surfaces as any error of the hub's and the network's libraries.
    except Exception as error:
        if report.raised is not None:
            raise report.raised from None
        raise DownloadError(next(iter(str(error).splitlines()), type(error).__name__)[:200]) from error


# Files of a tokenizer as transformers saves one, and of a text model's configuration; no weights and no code.
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "merges.txt", "spiece.model",
    "sentencepiece.bpe.model", "sentencepiece.model", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
_TEXT_MODEL = ("config.json",)


def fetch_architecture(name_or_path: str, pretrained: str = "") -> dict[str, Any]:
    """As `resolve_architecture`; the tokenizer and the text model's configuration of a published one are downloaded.

    Names in a file that anyone may have written are not asked for. Without a network nothing happens either: what
    needs them says what is missing.
    """
    model_cfg = resolve_architecture(name_or_path, pretrained)
    if not is_published(name_or_path):
        return model_cfg
    for name, files in _text_files(model_cfg["text_cfg"]):
        if name and _local_folder(name, files) is None:
            with suppress(Exception):  # any error of the hub's and the network's libraries
                snapshot_download(name, allow_patterns=list(files))
    return model_cfg


def _text_files(text_cfg: Mapping[str, Any]) -> tuple[tuple[str | None, Sequence[str]], ...]:
    """Repositories that a text tower needs, and which of their files."""
    return (text_cfg.get("hf_tokenizer_name"), _TOKENIZER), (text_cfg.get("hf_model_name"), _TEXT_MODEL)


def downloaded_tokenizer(name: str) -> Path:
    """The folder of a tokenizer of the hub that was downloaded before. ModelError when it was not."""
    return _downloaded("tokenizer", name, _TOKENIZER)


def downloaded_text_model(name: str) -> Path:
    """The folder with the configuration of a text model that was downloaded before. ModelError when it was not."""
    return _downloaded("text model", name, _TEXT_MODEL)


def _downloaded(what: str, name: str, files: Sequence[str]) -> Path:
    folder = _local_folder(name, files)
    if folder is None:
        raise ModelError(
            f"the {what} {name} is not on this machine; if you trust it, run: hf download {name} {' '.join(files)}"
        )
    return folder


def _local_folder(name: str, files: Sequence[str]) -> Path | None:
    """Where the hub's library keeps what it has of the repository ``name``; None when it has none of ``files``."""
    found = (_cached(name, file) for file in files)
    return next((path.parent for path in found if path is not None), None)


class _Progress:
    """Passes progress on, and remembers what it raised: libraries in between may take it for a failure."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.raised: BaseException | None = None

    def __call__(self, done: float, total: float) -> None:
        try:
            self._progress(_DOING, round(done / _MEGABYTE), round(total / _MEGABYTE))
        except BaseException as error:
            self.raised = error
            raise


def _from_hub(name: str, report: _Progress) -> Path:
    """``name`` is ``owner/repository/`` or ``owner/repository/file``."""

    class Bar(tqdm):  # type: ignore[misc]  # what the hub's library draws its progress with
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*arguments, **{**options, "file": io.StringIO(), "disable": False})

        def display(self, *_: Any, **__: Any) -> bool:
            report(self.n, self.total or 0)
            return True

    if (path := _cached_of_hub(name)) is not None:
        return path
    repository, safe, file = _hub_files(name)
    try:
        return Path(hf_hub_download(repository, safe, tqdm_class=Bar))
    except LocalEntryNotFoundError:
        raise  # no network
    except EntryNotFoundError:
        return Path(hf_hub_download(repository, file, tqdm_class=Bar))


def is_downloaded(tag: dict[str, Any], model_cfg: Mapping[str, Any]) -> bool:
    """Whether the weights of open_clip's ``tag``, and what ``model_cfg`` names for its text, are on this machine."""
    text = model_cfg["text_cfg"]
    if any(name and _local_folder(name, files) is None for name, files in _text_files(text)):
        return False
    if tag.get("hf_hub"):
        return _cached_of_hub(str(tag["hf_hub"])) is not None
    return (_cache_folder() / str(tag.get("url", "")).rpartition("/")[2]).is_file()


def _hub_files(name: str) -> tuple[str, str, str]:
    """Repository, its weights as safetensors, and as ``name`` says."""
    repository, file = os.path.split(name)
    file = file or HF_WEIGHTS_NAME
    return repository, HF_SAFE_WEIGHTS_NAME if file == HF_WEIGHTS_NAME else f"{Path(file).stem}.safetensors", file


def _cached_of_hub(name: str) -> Path | None:
    repository, safe, file = _hub_files(name)
    return _cached(repository, safe) or _cached(repository, file)


def _cached(repository: str, file: str) -> Path | None:
    """A file that was downloaded before; unlike hf_hub_download(local_files_only=True) this contacts nobody."""
    try:
        path = try_to_load_from_cache(repository, file)
    except ValueError:  # no name of a repository
        return None
    return Path(path) if isinstance(path, str) else None


def _cache_folder() -> Path:
    """Where open_clip keeps what it fetches from plain addresses."""
    return Path("~/.cache/clip").expanduser()


def _from_address(url: str, folder: Path, report: _Progress) -> Path:
    """A file of ``url``; a part of it in ``NAME.part`` is gone on with where the server can."""
    name = url.rpartition("/")[2]
    target, part = folder / name, folder / f"{name}.part"
    expected = _expected_sum(url)
    if target.is_file() and (not expected or _sum(target).startswith(expected)):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    _fetch(url, part, report)
    if expected and not _sum(part).startswith(expected):
        part.unlink()
        raise DownloadError("what arrived has another checksum than its address says; try again")
    part.replace(target)
    return target


def _fetch(url: str, part: Path, report: _Progress) -> None:
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # all of it is here
    with answer, part.open("ab") as file:
        if done and answer.status != http.client.PARTIAL_CONTENT:  # this server begins anew
            file.truncate(0)
            done = 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        while piece := answer.read(_PIECE):
            file.write(piece)
            done += len(piece)
            report(done, total)
    if done < total:
        raise DownloadError(f"the connection ended after {done} of {total} bytes; the next try goes on from there")


def _expected_sum(url: str) -> str:
    """The beginning of the file's SHA-256, where the address holds it."""
    if "openaipublic" in url:
        return url.split("/")[-2]
    if "mlfoundations" in url:
        return Path(url).stem.rpartition("-")[2]
    return ""


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
