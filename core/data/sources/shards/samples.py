"""A row of a shard: the members that share a key, and their captions and labels.

Flow: tar members -> ``group_members`` -> the index; when a row is read, its texts -> ``captions_in``, ``labels_in``.

By WebDataset's convention a key is a member's path up to the first dot of its name, and members with the same key are
adjacent. An image is ``KEY.jpg`` (``.png``, ``.webp``, ...) and its caption is ``KEY.txt``, as written by img2dataset
and read by open_clip. ``KEY.json`` may contain ``captions`` (a list, which takes precedence), ``caption``, and labels
as other plain values; ``KEY.cls`` is a class, used as the caption if there is no other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.data.errors import ImageError
from core.data.sources.manifests import MAX_LABELS
from core.data.sources.rows import clean_caption
from core.data.sources.shards.tar import TarMember
from core.spec.paths import IMAGE_SUFFIXES
from core.spec.reading import UnreadableError, parse_json
from core.spec.shards import MAX_MEMBER_BYTES

KIND_BY_SUFFIX = {"txt": "text", "json": "meta", "cls": "cls"} | {suffix[1:]: "image" for suffix in IMAGE_SUFFIXES}
MAX_BYTES = {
    "image": MAX_MEMBER_BYTES,
    "text": 1 << 20,
    "meta": 1 << 20,
    "cls": 1 << 10,
}  # kind of member -> maximum size
CAPTION_KEYS = ("captions", "caption")  # JSON keys that are not labels
_DOWNLOAD_KEYS = frozenset({"key", "status", "error_message"})  # in every JSON file of img2dataset
# img2dataset's own record of a download; all other keys are columns that its user selected.
_RECORD = _DOWNLOAD_KEYS | {
    "url", "width", "height", "original_width", "original_height", "exif", "md5", "sha256", "sha512"
}  # fmt: skip
MAX_LABEL_LENGTH = 200  # characters


@dataclass
class Sample:
    """The members that share a key."""

    key: str
    parts: dict[str, TarMember] = field(default_factory=dict)  # kind -> member

    def problem(self) -> str:
        """The reason why the sample is not a row; "" if it is a row."""
        for kind, member in self.parts.items():
            if member.special_type:
                return f"the {kind} is {member.special_type}, not a file"
            if member.size > MAX_BYTES[kind]:
                return f"the {kind} has {member.size:,} bytes, more than {MAX_BYTES[kind]:,}"
        if "image" not in self.parts:
            return "no image"
        if not self.parts["image"].size:
            return "the image is empty"
        if not any(self.parts[kind].size for kind in ("text", "meta", "cls") if kind in self.parts):
            return "no caption (.txt, .json or .cls)"
        return ""


def group_members(members: Iterable[TarMember]) -> Iterator[Sample]:
    """The samples in the order of a shard; folders, and members without a key, are skipped."""
    sample: Sample | None = None
    for member in members:
        key, kind = _key_and_kind(member.name)
        if not key or member.special_type == "a folder":
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
    """A member's key ("" if it belongs to no sample) and kind ("" if it is not used)."""
    folder, slash, last = name.rpartition("/")
    stem, dot, extension = last.partition(".")
    if not stem or not dot or last.startswith("__"):
        return "", ""
    return folder + slash + stem, KIND_BY_SUFFIX.get(extension.lower(), "")


def read_meta(content: bytes) -> dict[str, Any]:
    """The object in a ``.json`` member. Raises ImageError if its content is not an object."""
    try:
        record = parse_json(content, "the .json")
    except UnreadableError as error:
        raise ImageError(str(error)) from error
    if not isinstance(record, dict):
        raise ImageError(f"the .json is {type(record).__name__}, not an object")
    return record


def captions_in(text: bytes, meta: Mapping[str, Any], cls: bytes) -> tuple[str, ...]:
    """The captions of a row, from the content of its members. Raises ImageError if there are none."""
    caption_list = meta.get("captions")
    texts = [caption for caption in caption_list if isinstance(caption, str)] if isinstance(caption_list, list) else []
    if not texts and text:
        texts = [_decode(text, ".txt")]
    if not texts and isinstance(meta.get("caption"), str):
        texts = [meta["caption"]]
    if not any(map(clean_caption, texts)) and cls:
        texts = [_decode(cls, ".cls").replace("_", " ")]
    captions = tuple(dict.fromkeys(filter(None, map(clean_caption, texts))))
    if not captions:
        raise ImageError("no caption in .txt, .json or .cls")
    if any("\ud800" <= char <= "\udfff" for caption in captions for char in caption):
        raise ImageError("the caption is not valid Unicode (a lone surrogate)")
    return captions


def labels_in(meta: Mapping[str, Any], cls: bytes) -> dict[str, str]:
    """Label name -> value: the plain values of a ``.json`` without img2dataset's records, and ``class``.

    Raises ImageError if there are too many labels.
    """
    labels = {}
    ignored = {*CAPTION_KEYS, *(_RECORD if meta.keys() >= _DOWNLOAD_KEYS else ())}
    for name, value in meta.items():
        if name in ignored or not isinstance(value, (str, bool, int, float)):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        if len(name) <= MAX_LABEL_LENGTH:
            labels[name] = text[:MAX_LABEL_LENGTH].encode("utf-8", "replace").decode()
    if len(labels) > MAX_LABELS:
        raise ImageError(f"the .json has {len(labels):,} labels, more than {MAX_LABELS:,}")
    if cls:
        labels.setdefault("class", clean_caption(_decode(cls, ".cls"))[:MAX_LABEL_LENGTH])
    return labels


def _decode(content: bytes, member: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImageError(f"{member} is not UTF-8 text") from error
