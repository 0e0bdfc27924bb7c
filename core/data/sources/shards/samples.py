"""A row of a shard: the members that share a key, and their captions and labels.

Flow: tar members -> ``group_members`` -> the index; when a row is read, its texts -> ``captions_in``, ``labels_in``.

By WebDataset's convention a key is a member's path up to the first dot of its name, and members with one key are
adjacent. An image is ``KEY.jpg`` (``.png``, ``.webp``, ...), its caption ``KEY.txt``, as img2dataset writes and
open_clip reads them. ``KEY.json`` may hold ``captions`` (a list, which takes precedence), ``caption``, and labels as
its other plain values; ``KEY.cls`` is a class, used as the caption if there is no other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.data.errors import ImageError
from core.data.sources.folders import IMAGE_SUFFIXES
from core.data.sources.manifests import MOST_LABELS
from core.data.sources.rows import clean_caption
from core.data.sources.shards.tar import TarMember
from core.spec.reading import UnreadableError, parse_json
from core.spec.shards import LARGEST_MEMBER

KINDS = {"txt": "text", "json": "meta", "cls": "cls"} | {suffix[1:]: "image" for suffix in IMAGE_SUFFIXES}
LARGEST = {"image": LARGEST_MEMBER, "text": 1 << 20, "meta": 1 << 20, "cls": 1 << 10}  # bytes
CAPTIONS = ("captions", "caption")  # keys of a JSON that are not labels
_DOWNLOADED = frozenset({"key", "status", "error_message"})  # in every JSON of img2dataset
# img2dataset's record of a download, besides the columns that its user selected.
_RECORD = _DOWNLOADED | {
    "url", "width", "height", "original_width", "original_height", "exif", "md5", "sha256", "sha512"
}  # fmt: skip
LONGEST_LABEL = 200  # characters


@dataclass
class Sample:
    """Members with one key."""

    key: str
    parts: dict[str, TarMember] = field(default_factory=dict)  # by kind

    def problem(self) -> str:
        """Why it is not a row; "" if it is."""
        for kind, member in self.parts.items():
            if member.sort:
                return f"its {kind} is {member.sort}, not a file"
            if member.size > LARGEST[kind]:
                return f"its {kind} has {member.size:,} bytes, more than {LARGEST[kind]:,}"
        if "image" not in self.parts:
            return "it has no image"
        if not self.parts["image"].size:
            return "its image is empty"
        if not any(self.parts[kind].size for kind in ("text", "meta", "cls") if kind in self.parts):
            return "it has no caption (.txt, .json or .cls)"
        return ""


def group_members(members: Iterable[TarMember]) -> Iterator[Sample]:
    """Samples in the order of a shard; folders and other members are skipped."""
    sample: Sample | None = None
    for member in members:
        key, kind = _key_and_kind(member.name)
        if not key or member.sort == "a folder":
            continue
        if sample is None or key != sample.key or kind in sample.parts:
            if sample is not None and sample.parts:
                yield sample
            sample = Sample(key)
        if kind:
            sample.parts[kind] = member
    if sample is not None and sample.parts:
        yield sample


def _key_and_kind(name: str) -> tuple[str, str]:
    """A member's key, "" if it belongs to no sample, and its kind, "" if it is not used."""
    folder, slash, last = name.rpartition("/")
    stem, dot, extension = last.partition(".")
    if not stem or not dot or last.startswith("__"):
        return "", ""
    return folder + slash + stem, KINDS.get(extension.lower(), "")


def read_meta(content: bytes) -> dict[str, Any]:
    """The object in a ``.json``. ImageError when it does not hold an object."""
    try:
        record = parse_json(content, "its .json")
    except UnreadableError as error:
        raise ImageError(str(error)) from error
    if not isinstance(record, dict):
        raise ImageError(f"its .json holds {type(record).__name__}, not an object")
    return record


def captions_in(text: bytes, meta: Mapping[str, Any], cls: bytes) -> tuple[str, ...]:
    """The captions of a row, from the content of its members. ImageError when there are none."""
    caption_list = meta.get("captions")
    texts = [caption for caption in caption_list if isinstance(caption, str)] if isinstance(caption_list, list) else []
    if not texts and text:
        texts = [_decoded(text, ".txt")]
    if not texts and isinstance(meta.get("caption"), str):
        texts = [meta["caption"]]
    if not any(map(clean_caption, texts)) and cls:
        texts = [_decoded(cls, ".cls").replace("_", " ")]
    captions = tuple(dict.fromkeys(filter(None, map(clean_caption, texts))))
    if not captions:
        raise ImageError("it has no caption: .txt, .json and .cls hold none")
    if any("\ud800" <= char <= "\udfff" for caption in captions for char in caption):
        raise ImageError("its caption is not Unicode (a lone surrogate)")
    return captions


def labels_in(meta: Mapping[str, Any], cls: bytes) -> dict[str, str]:
    """Label name -> value: the plain values of a ``.json`` without img2dataset's records, and ``class``.

    ImageError when there are too many.
    """
    labels = {}
    ignored = {*CAPTIONS, *(_RECORD if meta.keys() >= _DOWNLOADED else ())}
    for name, value in meta.items():
        if name in ignored or not isinstance(value, (str, bool, int, float)):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        if len(name) <= LONGEST_LABEL:
            labels[name] = text[:LONGEST_LABEL].encode("utf-8", "replace").decode()
    if len(labels) > MOST_LABELS:
        raise ImageError(f"its .json has {len(labels):,} labels, more than {MOST_LABELS:,}")
    if cls:
        labels.setdefault("class", clean_caption(_decoded(cls, ".cls"))[:LONGEST_LABEL])
    return labels


def _decoded(content: bytes, member: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImageError(f"its {member} is not text in UTF-8") from error
