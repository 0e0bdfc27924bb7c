"""Downloads published weights with progress; huggingface_hub resumes interrupted downloads.

Flow: ``core.model.towers.pretrained`` requests the weights of an open_clip tag; all tags are on the hub. Tokenizers and
text models of transformers are downloaded by ``fetch_architecture`` only, and only for published architectures that a
user chose; building a network uses local files.
"""

from __future__ import annotations

import io
import os
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

_ACTIVITY = "downloading the weights (MB)"
_MEGABYTE = 1_000_000


class DownloadError(Exception):
    """The weights could not be downloaded; the message is the reason."""


def download(tag: dict[str, Any], progress: Progress | None = None) -> Path:
    """The local path of the weights of an open_clip tag (its ``hf_hub``), downloaded if needed.

    ``progress`` counts megabytes and may raise to cancel; the next call resumes the download. Raises DownloadError.
    """
    report = _Progress(progress or (lambda *_: None))
    try:
        return _from_hub(str(tag["hf_hub"]), report)
    # The hub's library and network libraries raise many types of errors.
    except Exception as error:
        if report.raised is not None:
            raise report.raised from None
        raise DownloadError(next(iter(str(error).splitlines()), type(error).__name__)[:200]) from error


# Files of a transformers tokenizer, and of a text model's configuration: no weights and no code.
_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "merges.txt", "spiece.model",
    "sentencepiece.bpe.model", "sentencepiece.model", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
_TEXT_MODEL_FILES = ("config.json",)


def fetch_architecture(name_or_path: str, pretrained: str = "") -> dict[str, Any]:
    """`resolve_architecture`, but first download a published architecture's tokenizer and text model configuration.

    Repositories named in untrusted files are not downloaded. Without a network nothing is downloaded; code that needs
    the files reports them as missing.
    """
    model_cfg = resolve_architecture(name_or_path, pretrained)
    if not is_published(name_or_path):
        return model_cfg
    for name, files in _text_files(model_cfg["text_cfg"]):
        if name and _local_folder(name, files) is None:
            with suppress(Exception):  # any error of the hub's library and network libraries
                snapshot_download(name, allow_patterns=list(files))
    return model_cfg


def _text_files(text_cfg: Mapping[str, Any]) -> tuple[tuple[str | None, Sequence[str]], ...]:
    """The repositories that a text tower needs, each with the required files."""
    return (text_cfg.get("hf_tokenizer_name"), _TOKENIZER_FILES), (text_cfg.get("hf_model_name"), _TEXT_MODEL_FILES)


def downloaded_tokenizer(name: str) -> Path:
    """The folder of a downloaded tokenizer. Raises ModelError if it has not been downloaded."""
    return _find_downloaded("tokenizer", name, _TOKENIZER_FILES)


def downloaded_text_model(name: str) -> Path:
    """The folder of a text model's downloaded configuration. Raises ModelError if it has not been downloaded."""
    return _find_downloaded("text model", name, _TEXT_MODEL_FILES)


def _find_downloaded(kind: str, name: str, files: Sequence[str]) -> Path:
    folder = _local_folder(name, files)
    if folder is None:
        raise ModelError(
            f"the {kind} {name} is not on this machine; if you trust its author, run: hf download {name} "
            f"{' '.join(files)}"
        )
    return folder


def _local_folder(name: str, files: Sequence[str]) -> Path | None:
    """The hub library's cache folder of the repository ``name``; None if it contains none of ``files``."""
    cached = (_find_cached(name, file) for file in files)
    return next((path.parent for path in cached if path is not None), None)


class _Progress:
    """Forwards progress, and remembers its exception, which libraries may report as a failed download."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.raised: BaseException | None = None

    def __call__(self, received: float, total: float) -> None:
        try:
            self._progress(_ACTIVITY, round(received / _MEGABYTE), round(total / _MEGABYTE))
        except BaseException as error:
            self.raised = error
            raise


def _from_hub(name: str, report: _Progress) -> Path:
    """Download ``name``, which is ``owner/repository/`` or ``owner/repository/file``."""

    class Bar(tqdm):  # type: ignore[misc]  # receives the hub library's progress
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*arguments, **{**options, "file": io.StringIO(), "disable": False})

        def display(self, *_: Any, **__: Any) -> bool:
            report(self.n, self.total or 0)
            return True

    if (path := _cached_from_hub(name)) is not None:
        return path
    repository, safetensors_file, file = _hub_files(name)
    try:
        return Path(hf_hub_download(repository, safetensors_file, tqdm_class=Bar))
    except LocalEntryNotFoundError:
        raise  # no network
    except EntryNotFoundError:
        return Path(hf_hub_download(repository, file, tqdm_class=Bar))


def is_downloaded(tag: dict[str, Any], model_cfg: Mapping[str, Any]) -> bool:
    """Whether the weights of ``tag`` and the text files that ``model_cfg`` requires are on this machine."""
    text = model_cfg["text_cfg"]
    if any(name and _local_folder(name, files) is None for name, files in _text_files(text)):
        return False
    return _cached_from_hub(str(tag.get("hf_hub", ""))) is not None


def _hub_files(name: str) -> tuple[str, str, str]:
    """The repository, its safetensors file, and the file in ``name``."""
    repository, file = os.path.split(name)
    file = file or HF_WEIGHTS_NAME
    return repository, HF_SAFE_WEIGHTS_NAME if file == HF_WEIGHTS_NAME else f"{Path(file).stem}.safetensors", file


def _cached_from_hub(name: str) -> Path | None:
    repository, safetensors_file, file = _hub_files(name)
    return _find_cached(repository, safetensors_file) or _find_cached(repository, file)


def _find_cached(repository: str, file: str) -> Path | None:
    """The path of a downloaded file; unlike hf_hub_download(local_files_only=True), this never uses the network."""
    try:
        path = try_to_load_from_cache(repository, file)
    except ValueError:  # not a repository name
        return None
    return Path(path) if isinstance(path, str) else None
