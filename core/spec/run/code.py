"""Copies of custom code in a run folder, and the user's permission to run the code.

Flow: starting a run calls ``keep_code``, which copies the files into ``code/`` with their digests in
``code/index.json``, and records that this user started them. ``core.custom.loading`` runs only these copies (an
installed module only if it has the digest of its copy), and only if this user has started or allowed them before. So
code in another person's run folder does not run, since this user has not allowed its digests.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.spec.config import RunConfig
from core.spec.errors import UserError, writing
from core.spec.extending.references import Reference, parse_reference
from core.spec.files import check_inside, write_whole
from core.spec.reading import KILOBYTE, MEGABYTE, parse_json, read_bytes, read_json, validate_as
from core.spec.run.folder import RunDir
from core.spec.run.model_names import checkpoint_names

CodeUse = Literal["check", "kept", "changed"]
"""If a file has changed since the run began: raise an error, use the copy, or use the changed file."""


class CodeError(UserError):
    """Unusable code; the message names the file and the remedy."""


class CodeNotAllowed(CodeError):
    """Code in a run folder that this user has neither started nor allowed. ``files``: digest -> copy."""

    def __init__(self, run: RunDir, files: dict[str, Path]) -> None:
        file_list = ", ".join(f"{path} (sha256 {digest[:12]})" for digest, path in files.items())
        super().__init__(
            f"{run.path} contains custom code that you have not run before: {file_list}. Read the code, then allow it "
            "with --allow-code."
        )
        self.files = files


_FILE_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}"


class CopiedFile(BaseModel):
    """A copied file in ``code/``."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    file: Annotated[str, Field(pattern=rf"^{_FILE_PATTERN}$")]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


_INDEX = TypeAdapter(dict[str, CopiedFile])
_INDEX_NAME = "index.json"


def references(config: RunConfig) -> list[Reference]:
    """The references to files and modules in ``config``, including objectives with weight 0."""
    texts = [config.data.dataset, config.towers.build, config.teacher.kind, *config.objectives.custom]
    return [parsed for text in texts if (parsed := parse_reference(text)) is not None and not parsed.is_python_object]


def copied_files(run: RunDir) -> dict[str, CopiedFile]:
    """The copies, by path or module name. Raises CodeError if the index cannot be read."""
    try:
        raw = read_json(_index(run), 64 * KILOBYTE, root=run.path, error=CodeError)
    except FileNotFoundError:
        return {}
    return validate_as(_INDEX, raw, str(_index(run)), error=CodeError, remedy="Choose another run folder.")


def read_copy(run: RunDir, copied_file: CopiedFile) -> bytes:
    """The content of a copy. Raises CodeError if the copy is missing or its digest differs."""
    path = copy_path(run, copied_file)
    try:
        content = read_bytes(path, MEGABYTE, root=run.path, error=CodeError)
    except FileNotFoundError as error:
        raise CodeError(f"{path} is missing; restore the run folder.") from error
    if digest_of(content) != copied_file.digest:
        raise CodeError(f"{path} was changed after the run began; restore it, or start a new run.")
    return content


def copy_path(run: RunDir, copied_file: CopiedFile) -> Path:
    """The path of a copy in the run folder."""
    return run.path / "code" / copied_file.file


def keep_code(config: RunConfig, run: RunDir, use: CodeUse = "check") -> None:
    """Copy the custom code of ``config`` into ``run``, which the user is starting, and allow the code.

    Raises CodeError if a file is missing, or has changed since the run began (see ``use``); CodeNotAllowed if only the
    copy in ``run`` exists and this user has not run it before.
    """
    locations = {reference.location: reference for reference in references(config)}
    if not locations:
        return
    index = copied_files(run)
    new_index = dict(index)
    for location, reference in locations.items():
        indexed = index.get(location)
        content = None if use == "kept" else source_of(reference)
        if content is None:
            check_allowed(run, [location])
            continue
        digest = digest_of(content)
        if indexed is not None and indexed.digest != digest and use == "check" and checkpoint_names(run):
            raise CodeError(changed_message(location, run))
        new_index[location] = CopiedFile(file=_file_name(reference, digest, new_index), digest=digest)
        _write(run, copy_path(run, new_index[location]), content)
        allow([digest])
    if new_index != index:
        _write(run, _index(run), _index_text(new_index).encode())


def check_allowed(run: RunDir, locations: Iterable[str], started: bool = False) -> dict[str, CopiedFile]:
    """The copies of the paths or modules ``locations``. ``started``: this user started the run.

    Raises CodeError if one is missing, and CodeNotAllowed if this user has not run the code before, unless ``started``.
    """
    index = copied_files(run)
    for location in locations:
        if location not in index:
            kind = "a file" if location.endswith(".py") else "an installed module"
            raise CodeError(f"{location} is not {kind} here, and {run.path} has no copy of it; check the path.")
    copies = {location: index[location] for location in locations}
    allowed_digests = read_allowed_digests()
    unknown = {
        copied_file.digest: copy_path(run, copied_file)
        for copied_file in copies.values()
        if copied_file.digest not in allowed_digests
    }
    if unknown and not started and not _everything_allowed:
        raise CodeNotAllowed(run, unknown)
    return copies


def source_of(reference: Reference) -> bytes | None:
    """The source of the file or module; None if there is none. Finding a module imports its parent packages."""
    path: Path | None = reference.path
    if not reference.is_file:
        try:
            spec = find_spec(reference.location)
        except ModuleNotFoundError:
            return None
        path = Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None
    if path is None:
        return None
    try:
        return read_bytes(path, MEGABYTE, error=CodeError)
    except FileNotFoundError:
        return None


def digest_of(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def check_code_unchanged(config: RunConfig, run: RunDir) -> None:
    """Raise CodeError if resuming ``run`` would use code that is not allowed, or has changed since the run began."""
    copies = check_allowed(run, [reference.location for reference in references(config)])
    for reference in references(config):
        content = source_of(reference) if reference.is_file else None
        if content is not None and digest_of(content) != copies[reference.location].digest:
            raise CodeError(changed_message(reference.location, run))


def check_code_known(configs: Iterable[RunConfig]) -> None:
    """Raise CodeError if ``configs`` (a resumed chain's, or an agent's) use code that this user has not run before."""
    allowed_digests = read_allowed_digests()
    for reference in chain.from_iterable(map(references, configs)):
        content = source_of(reference) if reference.is_file else None
        if content is None or digest_of(content) not in allowed_digests:
            raise CodeError(f"you have not run {reference.location} before; run it once with sdgui-core train.")


def code_option(config: RunConfig) -> list[str]:
    """The options of ``train`` for a run whose code was copied at its launch: only the copies may run."""
    return ["--code", "kept"] if references(config) else []


def changed_message(location: str, run: RunDir) -> str:
    """The message for a file that changed since ``run`` began."""
    return (
        f"{location} changed since {run.path} began; restore it, or continue with sdgui-core train --code kept (uses "
        "the copy in the run folder) or --code changed (uses the changed file)."
    )


def pack_code(run: RunDir) -> dict[str, str]:
    """The copies in ``run`` and their index, for sending to another machine; {} if there is no custom code."""
    index = copied_files(run)
    packed = {
        copied_file.file: read_copy(run, copied_file).decode("utf-8", "surrogateescape")
        for copied_file in index.values()
    }
    return packed | ({_INDEX_NAME: _index_text(index)} if index else {})


def unpack_code(run: RunDir, files: Mapping[str, str]) -> None:
    """Write the result of ``pack_code`` into ``run``; its sender is starting the run on this machine.

    Raises CodeError if it is malformed.
    """
    if not files:
        return
    raw = parse_json(files.get(_INDEX_NAME, "{}"), "the code of the run", error=CodeError)
    index = validate_as(_INDEX, raw, "the code of the run", error=CodeError)
    for copied_file in index.values():
        content = files.get(copied_file.file, "").encode("utf-8", "surrogateescape")
        if digest_of(content) != copied_file.digest:
            raise CodeError(f"{copied_file.file} did not arrive whole; launch the run again.")
        _write(run, copy_path(run, copied_file), content)
    _write(run, _index(run), _index_text(index).encode())
    allow(copied_file.digest for copied_file in index.values())


# Allowed code

_everything_allowed = False


def allow_everything() -> None:
    """Allow any code for the rest of this process: the user gave ``--allow-code``."""
    global _everything_allowed
    _everything_allowed = True


def read_allowed_digests() -> frozenset[str]:
    """Digests of the code that this user has started or allowed."""
    try:
        return frozenset(_allowed_file().read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError):
        return frozenset()


def allow(digests: Iterable[str]) -> None:
    """Record that this user allows the code with ``digests``. Raises CodeError if the record cannot be written."""
    allowed_digests = read_allowed_digests()
    new = sorted(set(digests) - allowed_digests)
    path = _allowed_file()
    if new:
        with writing(path, CodeError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, "".join(f"{digest}\n" for digest in sorted({*allowed_digests, *new})).encode())


def _allowed_file() -> Path:
    import platformdirs  # noqa: PLC0415  (most runs have no custom code)

    return platformdirs.user_data_path("sdgui", appauthor=False) / "allowed-code.txt"


def _index(run: RunDir) -> Path:
    return run.path / "code" / _INDEX_NAME


def _index_text(index: Mapping[str, CopiedFile]) -> str:
    return json.dumps(
        {location: copied_file.model_dump() for location, copied_file in index.items()}, indent=2, ensure_ascii=False
    )


def _file_name(reference: Reference, digest: str, index: dict[str, CopiedFile]) -> str:
    """A unique file name in ``code/``."""
    plain = reference.path.name if reference.is_file else f"{reference.location}.py"
    if not re.fullmatch(_FILE_PATTERN, plain):
        plain = f"{digest[:12]}.py"
    other_files = {copied_file.file for location, copied_file in index.items() if location != reference.location}
    return plain if plain not in other_files else f"{digest[:12]}-{plain[-180:]}"


def _write(run: RunDir, path: Path, content: bytes) -> None:
    with writing(path, CodeError):
        path.parent.mkdir(exist_ok=True)
        check_inside(run.path, [path], CodeError)
        write_whole(path, content)
