"""Pages generated from the program: settings, presets, events, commands and the Python API.

Flow: ``conf.py`` calls `write_all` before each build -> ``docs/generated/*.md``, which nobody edits and git ignores. A
page is rewritten only when it has changed, so that a second build reads only the changed pages.
"""

from __future__ import annotations

import argparse
import ast
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import core
from core.__main__ import make_parser as core_parser
from core.spec.config import RunConfig
from core.spec.presets import PRESETS, SIZES, preset_config
from core.spec.presets.preset import Preset
from core.spec.run.events import KINDS, Event
from sdgui.app.start import make_parser as window_parser

ROOT = Path(__file__).resolve().parents[1]
GENERATED = Path(__file__).resolve().parent / "generated"
_WORDS = {"int": "whole number", "float": "number", "str": "text", "bool": "yes or no"}


def write_all(folder: Path = GENERATED) -> list[str]:
    """Write every page; the names of all, without the suffix."""
    pages = {
        "settings/index": _settings_index(),
        **{f"settings/{name}": _settings_page(name, model) for name, model in _sections()},
        "presets/index": _presets_index(),
        **{f"presets/{preset.name}": _preset_page(preset) for preset in PRESETS.values()},
        "events": _events(),
        "commands": _commands(),
        "man/sdgui": _man(window_parser()),
        "man/sdgui-core": _man(core_parser()),
        "python": _python(),
    }
    for name, text in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in folder.rglob("*.md"):
        if path.relative_to(folder).with_suffix("").as_posix() not in pages:
            path.unlink()
    return list(pages)


# Settings
def _sections() -> list[tuple[str, type[BaseModel]]]:
    """The sections of a config; "experiment" has the settings outside the other sections."""
    sections: list[tuple[str, type[BaseModel]]] = [("experiment", RunConfig)]
    for name, field in RunConfig.model_fields.items():
        if (model := _model(field)) is not None:
            sections.append((name, model))
    return sections


def _model(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _settings_index() -> str:
    names = [name for name, _ in _sections()]
    about = (
        "Every setting of a config, as the form shows it. A config is a JSON file with these sections; "
        "`--set section.setting=value` changes one on the command line, and each field of **Define** has it as its "
        "tooltip's name. Settings that do not fit together are reported at their fields before training starts."
    )
    return f"# Settings\n\n{about}\n\n{_toctree(names)}"


def _settings_page(name: str, model: type[BaseModel]) -> str:
    title = "Experiment" if model is RunConfig else str(RunConfig.model_fields[name].title)
    head = f"# {title}\n\n{_summary(model)}\n\n"
    prefix = "" if model is RunConfig else f"{name}."
    return head + "\n".join(_fields(model, prefix, 2))


def _fields(model: type[BaseModel], prefix: str, level: int) -> Iterator[str]:
    inner = []
    for name, field in model.model_fields.items():
        below = _model(field)
        if below is None:
            yield _setting(prefix + name, field, level)
        elif model is not RunConfig:
            inner.append((name, field, below))
    for name, field, below in inner:
        yield f"{'#' * level} {field.title}: `{prefix}{name}`\n\n{_summary(below)}\n"
        yield from _fields(below, f"{prefix}{name}.", level + 1)


def _setting(name: str, field: FieldInfo, level: int) -> str:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    default = field.default if field.default is not PydanticUndefined else ""
    facts = [_type(field.annotation), *_range(field), f"default `{_value(default)}`"]
    if extra.get("unit"):
        facts.append(f"in {extra['unit']}")
    if extra.get("advanced"):
        facts.append("under *More*")
    described = f" {field.description}" if field.description else ""
    return f"{'#' * level} `{name}`\n\n**{field.title}.**{described}\n\n{'; '.join(facts)}.\n"


def _type(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(f"`{_value(value)}`" for value in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(_type(member) if member is not type(None) else "nothing" for member in get_args(kind))
    if origin in (tuple, list):
        return "a list"
    return _WORDS.get(getattr(kind, "__name__", ""), "a value")


def _range(field: FieldInfo) -> Iterator[str]:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for constraint in field.metadata:
        for bound, word in words.items():
            value = getattr(constraint, bound, None)
            if value is not None:
                yield f"{word} {value:,}"


def _value(value: object) -> str:
    return (
        {"": "(empty)", True: "true", False: "false"}.get(value, str(value))
        if isinstance(value, (str, bool))
        else str(value)
    )


def _summary(model: type) -> str:
    return inspect.cleandoc(model.__doc__ or "").replace("``", "`")


# Presets
def _presets_index() -> str:
    rows = [f"| [{preset.title}]({preset.name}.md) | `{preset.name}` | {preset.paper} |" for preset in PRESETS.values()]
    about = (
        "A preset is a published system as a config; **New** offers them and `sdgui-core presets` lists them. Each has "
        f"the sizes {', '.join(SIZES)}: tiny for tests, demo for the demo's images on two cores, base as published, "
        "large with larger towers. Each page lists the settings that differ from their defaults."
    )
    table = "| system | preset | paper |\n| --- | --- | --- |\n" + "\n".join(rows)
    return f"# Presets\n\n{about}\n\n{table}\n\n{_toctree(list(PRESETS), hidden=True)}"


def _preset_page(preset: Preset) -> str:
    config, plain = preset_config(preset.name, "base"), RunConfig()
    rows = "\n".join(
        f"| `{name}` | `{_value(value)}` |" for name, value in _changed(config, plain) if name not in ("name", "preset")
    )
    commands = f"```sh\nsdgui-core presets {preset.name} --size demo > {preset.name}.json\n```"
    return (
        f"# {preset.title}\n\n{preset.description}\n\n*{preset.paper}.*\n\n{commands}\n\n"
        f"At size base it sets:\n\n| setting | value |\n| --- | --- |\n{rows}\n"
    )


def _changed(config: BaseModel, plain: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name in type(config).model_fields:
        value, default = getattr(config, name), getattr(plain, name)
        if isinstance(value, BaseModel):
            yield from _changed(value, default, f"{prefix}{name}.")
        elif value != default:
            yield prefix + name, value


# Events
def _events() -> str:
    parts = [
        "# Events\n\nA run's `events.jsonl` has a line of JSON for each event, only ever appended: an object with `v` "
        "(version), `kind`, `time` (seconds since the epoch) and the fields below. An incomplete last line is read "
        "once it is complete; unknown kinds are skipped and counted; numbers without a JSON form are the strings "
        "`nan`, `inf` and `-inf`."
    ]
    for kind, cls in KINDS.items():
        rows = "\n".join(
            f"| `{field.name}` | {_type_name(field.type)} | {_default(field)} |"
            for field in fields(cls)
            if not _in_every_event(field.name)
        )
        parts.append(f"## `{kind}`\n\n{_summary(cls)}\n\n| field | type | |\n| --- | --- | --- |\n{rows}")
    return "\n\n".join(parts) + "\n"


def _in_every_event(name: str) -> bool:
    return name in {field.name for field in fields(Event)}


def _type_name(kind: object) -> str:
    names = {"Values": "name → number", "Content": "plain data", "Step": _WORDS["int"]}
    return names.get(str(kind), _WORDS.get(str(kind), str(kind).lower()))


def _default(field: Any) -> str:
    return "" if field.default is MISSING and field.default_factory is MISSING else f"default `{_value(field.default)}`"


# Commands
def _commands() -> str:
    about = "The window is `sdgui`; the commands are `sdgui-core COMMAND`, or `python -m core COMMAND`."
    exits = "Exit status is 0 only on success; results go to stdout, progress and errors to stderr."
    parts = [f"# Command line\n\n{about} {exits}\n", *_command(window_parser(), 2)]
    core_ = core_parser()
    parts.append(f"## sdgui-core\n\n{core_.description}\n")
    parts += [text for verb, about_ in _verbs(core_) for text in _command(verb, 3, about_)]
    return "\n".join(parts)


def _verbs(parser: argparse.ArgumentParser) -> list[tuple[argparse.ArgumentParser, str]]:
    verbs = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            verbs += [(subparser, helps.get(name, "")) for name, subparser in action.choices.items()]
    return verbs


def _command(parser: argparse.ArgumentParser, level: int, about: str = "") -> Iterator[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    description = _plain(parser.description or (about[:1].upper() + about[1:] + "." if about else ""))
    yield f"{'#' * level} {parser.prog}\n\n{description}\n\n```text\n{usage}\n```\n"
    rows = [(_invocation(action), _plain(_help(parser, action))) for action in _options(parser)]
    if rows:
        yield "\n".join(f"`{name}`\n: {text or 'as named'}\n" for name, text in rows)
    for verb, help_ in _verbs(parser):
        yield from _command(verb, level + 1, help_)


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    skipped = (argparse._HelpAction, argparse._SubParsersAction)
    return [
        action for action in parser._actions if not isinstance(action, skipped) and action.help != argparse.SUPPRESS
    ]


def _invocation(action: argparse.Action) -> str:
    return argparse.HelpFormatter("")._format_action_invocation(action)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _plain(text: str) -> str:
    """Terminal text as Markdown, with all markup escaped."""
    for mark in ("\\", "*", "_", "<", "|", "[", "$", "{"):
        text = text.replace(mark, f"\\{mark}")
    return text


def _man(parser: argparse.ArgumentParser) -> str:
    """A page for the man builder; its first section is the command's name."""
    parts = [f"---\norphan: true\n---\n\n# {parser.prog}\n", *_command(parser, 2)]
    return "\n".join(parts)


# The Python API
def _python() -> str:
    about = (
        "The functions of `import core` for a notebook or a script. Nothing is loaded until a name is used; everything "
        "is typed. Errors that a user can fix are raised as `core.UserError`, with a one-sentence message. "
        '`pip install "sdgui[notebook]"` brings pandas.'
    )
    parts = [f"# Python\n\n{about}\n"]
    for module in ("notebook/models", "notebook/training", "notebook/sweeps", "notebook/frames", "tracking/starting"):
        source = (ROOT / "core" / f"{module}.py").read_text(encoding="utf-8")
        tree = ast.parse(source)
        title, _, example = (ast.get_docstring(tree) or "").partition("\n\n")
        parts.append(f"## {title.rstrip('.:')}\n\n```python\n{inspect.cleandoc(example)}\n```\n")
        parts += [_function(node) for node in _functions(tree) if node.name in core._FROM]
    return "\n".join(parts)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """The functions of a module of `core.notebook`, after those that it re-exports from other modules."""
    for node in tree.body:
        names = (
            {alias.name for alias in node.names if alias.asname is None} if isinstance(node, ast.ImportFrom) else set()
        )
        if names & set(core._FROM):
            source = ROOT.joinpath(*node.module.split(".")).with_suffix(".py")
            if source.is_file():
                statements = ast.parse(source.read_text(encoding="utf-8")).body
                yield from (node for node in statements if isinstance(node, ast.FunctionDef) and node.name in names)
    yield from (node for node in tree.body if isinstance(node, ast.FunctionDef))


def _function(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    signature = f"core.{node.name}({ast.unparse(node.args)}){returns}"
    text = (ast.get_docstring(node) or "").replace("``", "`")
    return f"### core.{node.name}\n\n```python\n{signature}\n```\n\n{text}\n"


def _toctree(names: Sequence[str], hidden: bool = False) -> str:
    options = ":maxdepth: 1\n" + (":hidden:\n" if hidden else "")
    return "```{toctree}\n" + options + "\n" + "\n".join(names) + "\n```\n"


if __name__ == "__main__":
    print("\n".join(write_all()))
