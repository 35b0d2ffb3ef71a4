"""Settings: their base class, YAML and JSON read strictly, and one line per problem. No torch import.

A line names where, the key's path, the value, the allowed ones, and for a wrong key or choice the nearest valid one.
"""

from __future__ import annotations

import difflib
import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from audiorestorer.errors import AudioRestorerError
from audiorestorer.names import is_text

PATH_FORMAT = "path"  # of a text that names a folder or file, in the schema
NAME_READ_AS = "a folder or file is needed, and this name is read as"
MAX_BYTES = 4_000_000
MAX_NODES = 20_000  # of a YAML file with its aliases written out
MAX_DEPTH = 40
MAX_TEXT = 10_000
MAX_LINES = 20
CLOSE, CLOSE_ELSEWHERE = 0.6, 0.8


class Settings(BaseModel):
    """Base of all settings: immutable, no unknown keys, no NaN, no true/false for numbers, no text that no file system takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        if any(isinstance(part, bool) for part in inner):
            types = _types(cls.model_fields[str(info.field_name)].annotation)
            if types & {int, float} and not types & {bool, Any}:
                raise ValueError("a number, not true or false")
        for part in inner:
            if isinstance(part, str) and (len(part) > MAX_TEXT or "\0" in part or not is_text(part)):
                raise ValueError(f"text of at most {MAX_TEXT} characters, in UTF-8, without NUL")
        return value


def _types(annotation: Any) -> set[Any]:
    kinds = {annotation}
    for part in get_args(annotation):
        kinds |= _types(part)
    return {kind for kind in kinds if isinstance(kind, type) or kind is Any}


AnySettings = TypeVar("AnySettings", bound=Settings)


def validate(model: type[AnySettings], values: Any, where: str) -> AnySettings:
    """Check values against a settings model.

    Raises:
        AudioRestorerError: one line per problem: where, the key's path, the value, the allowed ones, and the nearest valid key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        schema = _schema(model)
        problems = _of_choices_once(error.errors(include_url=False, include_context=False), schema)
        lines = [f"{where}: {_line(problem, schema)}" for problem in problems[:MAX_LINES]]
        if len(problems) > MAX_LINES:
            lines.append(f"{where}: {len(problems) - MAX_LINES} more problems")
        raise AudioRestorerError("\n".join(lines)) from None


def _of_choices_once(problems: Sequence[Any], schema: dict[str, Any]) -> list[Any]:
    """The problems; of a value that may be of several kinds one, not one for each kind, whose name pydantic adds to the path."""
    out: list[Any] = []
    for problem in problems:
        above, is_whole = _at(schema, problem["loc"][:-1])
        kinds = _resolved(above, schema).get("anyOf") if is_whole and problem["loc"] else None
        if kinds is None:
            out.append(problem)
        elif not out or out[-1]["loc"] != problem["loc"][:-1]:
            out.append({**problem, "loc": problem["loc"][:-1], "type": "choice", "msg": "none of what is allowed"})
    return out


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _line(problem: Any, schema: dict[str, Any]) -> str:
    path: tuple[int | str, ...] = problem["loc"]
    key = ".".join(_short(part) for part in path) or "top level"
    value = shown(problem["input"])
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        valid = list(_properties(_at(schema, path[:-1])[0], schema))
        sections = [name for name in valid if _holds(_at(schema, (*path[:-1], name))[0], problem["input"], schema)]
        near = _nearest_key(str(path[-1]), sections or valid, schema)
        return f"{key}: unknown key{_meant(near)} (got {value}); allowed here: {', '.join(valid) or 'nothing'}"
    node, whole = _at(schema, path)
    near = ""
    if whole and isinstance(problem["input"], str):
        near = next(iter(difflib.get_close_matches(problem["input"].lower(), _choices(node, schema), 1, CLOSE)), "")
    reason = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "string_type" and whole and _resolved(node, schema).get("format") == PATH_FORMAT:
        reason = _no_path(problem["input"])
    return f"{key}: {reason} (got {value}){_meant(near)}; allowed: {_allowed(node, schema)}"


def _no_path(value: Any) -> str:
    """The remedy where YAML or the command line made something else of a folder's name."""
    if isinstance(value, bool):
        kind, example = "true or false", "./no"
    elif isinstance(value, int | float):
        kind, example = "a number", "./007"
    elif isinstance(value, date):
        kind, example = "a date", f"./{value}"
    elif isinstance(value, list | dict):
        kind, example = "a list or mapping", "./[takes]"
    else:
        return "the name of a folder or file is needed"
    return f"{NAME_READ_AS} {kind}: write ./ before it, as {example}"


def _meant(near: str) -> str:
    return f"; did you mean {near!r}?" if near else ""


def _short(part: int | str) -> str:
    text = str(part)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 80 else text[:77] + "..."


def shown(value: Any) -> str:
    """A value for a message: one line, short however large it is."""
    short = reprlib.Repr()
    short.maxlevel, short.maxdict, short.maxlist, short.maxtuple, short.maxset, short.maxstring = 2, 4, 4, 4, 4, 60
    try:
        return short.repr(value)
    except ValueError:  # an integer of more digits than Python converts
        return "an integer of thousands of digits"


def _nearest_key(wrong: str, valid: Sequence[str], schema: dict[str, Any]) -> str:
    """The key that was meant: of the same section, or of another one where the spelling is right or nearly so."""
    plain = wrong.strip().lower().replace("-", "_")[:80]
    leaves = [path for path in _paths(schema, schema, ()) if len(path) > 1]
    named = {path[-1]: ".".join(path) for path in reversed(leaves)}
    if plain in valid or plain in named:
        return plain if plain in valid else named[plain]
    for candidates, cutoff in ((list(valid), CLOSE), (list(named), CLOSE_ELSEWHERE)):
        for near in difflib.get_close_matches(plain, candidates, 1, cutoff):
            return near if near in valid else named[near]
    return ""


def _resolved(node: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema node without its reference, and without the null beside one kind of value."""
    while isinstance(node, dict):
        others = [each for each in node.get("anyOf", ()) if each.get("type") != "null"]
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        elif len(others) == 1:
            node = others[0]
        else:
            return node
    return {}


def _holds(node: dict[str, Any], value: Any, schema: dict[str, Any]) -> bool:
    """Whether a schema node is a section with all keys of a value, which is a mapping."""
    return isinstance(value, dict) and bool(value) and value.keys() <= _properties(node, schema).keys()


def _properties(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = _resolved(node, schema).get("properties", {})
    return properties


def _at(schema: dict[str, Any], path: Sequence[int | str]) -> tuple[dict[str, Any], bool]:
    """The schema node of a path as far as it goes, and whether it goes all the way."""
    node: dict[str, Any] = schema
    for part in path:
        plain = _resolved(node, schema)
        prefix = plain.get("prefixItems", [])
        if isinstance(part, int):
            inner = prefix[part] if part < len(prefix) else plain.get("items")
        else:
            inner = plain.get("properties", {}).get(part) or plain.get("additionalProperties")
        if not isinstance(inner, dict):
            return node, False
        node = inner
    return node, True


def _paths(node: dict[str, Any], schema: dict[str, Any], before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if len(before) < 5:
        plain = _resolved(node, schema)
        for name, inner in plain.get("properties", {}).items():
            yield (*before, name)
            yield from _paths(inner, schema, (*before, name))
        for key, name in (("items", "N"), ("additionalProperties", "NAME")):
            if isinstance(plain.get(key), dict):
                yield from _paths(plain[key], schema, (*before, name))


def _choices(node: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    plain = _resolved(node, schema)
    if "anyOf" in plain:
        return [choice for each in plain["anyOf"] for choice in _choices(each, schema)]
    return [str(each) for each in plain.get("enum", [plain["const"]] if "const" in plain else [])]


WORDS = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
BOUNDS = {
    "minimum": "at least {}", "exclusiveMinimum": "above {}", "maximum": "at most {}", "exclusiveMaximum": "below {}",
    "minLength": "{} characters or more", "maxLength": "{} characters or fewer", "pattern": "of the pattern {}",
    "minItems": "{} entries or more", "maxItems": "{} entries or fewer", "minProperties": "{} entries or more",
}  # fmt: skip


def _allowed(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """The values that a schema node takes, in words: kind, bounds, null, their meaning."""
    plain = _resolved(node, schema)
    if "anyOf" in plain:
        kind = ", or ".join(_allowed(each, schema) for each in plain["anyOf"])
    elif choices := _choices(node, schema):
        kind = "one of " + ", ".join(choices) if len(choices) > 1 else choices[0]
    elif plain.get("type") == "array":
        kind = f"a list, each {_allowed(plain['items'], schema)}" if isinstance(plain.get("items"), dict) else "a list"
    elif properties := _properties(node, schema):
        kind = "a mapping with the keys " + ", ".join(properties)
    elif plain.get("type") == "object":
        kind = "a mapping"
    else:
        kind = WORDS.get(str(plain.get("type")), "any value")
    bounds = [text.format(plain[name]) for name, text in BOUNDS.items() if name in plain]
    null = " or null" if any(each.get("type") == "null" for each in node.get("anyOf", ())) else ""
    meaning = f" ({node['description']})" if node.get("description") and node is not schema else ""
    return ", ".join([kind, *bounds]) + null + meaning


def load(model: type[AnySettings], source: str) -> AnySettings:
    """Settings from a YAML file's path or from inline JSON (`{...}`), as the command line takes them.

    Raises:
        AudioRestorerError: unreadable, not YAML, or a wrong key or value.
    """
    return validate(model, *content_of(source))


def content_of(source: str) -> tuple[Any, str]:
    """The content of a YAML file or of inline JSON (`{...}`), and its name in messages.

    Raises:
        AudioRestorerError: unreadable, or not YAML.
    """
    if source.lstrip().startswith("{"):
        return json_object(source, "--config"), "--config"
    return read_yaml(source), source


def json_object(text: str, where: str) -> dict[str, Any]:
    """A JSON object without repeated keys.

    Raises:
        AudioRestorerError: names `where` and the reason.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise AudioRestorerError(f"{where}: not valid JSON: {str(error):.300}") from error
    if not isinstance(content, dict):
        raise AudioRestorerError(f"{where}: not a JSON object (got {shown(content)})")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return content


def read_yaml(path: str | Path, *, foreign: bool = False) -> Any:
    """A YAML file's content; an empty file is an empty mapping. Plain data only, and no more of it than a configuration needs.

    Args:
        foreign: the file was written by Python elsewhere: what it tags as Python's (a tuple, a path) is read as the plain list,
            mapping or text that stands there. Nothing is built of it; elsewhere such a tag is an error.

    Raises:
        AudioRestorerError: unreadable, not UTF-8 or not YAML, a repeated key, or aliases that blow it up; names file and line.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise AudioRestorerError(f"{path}: cannot read: not a file")
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise AudioRestorerError(f"{path}: larger than {MAX_BYTES / 1e6:g} MB: not a configuration")
        return _parsed(content.decode("utf-8"), _Foreign if foreign else _Strict) or {}
    except OSError as error:
        raise AudioRestorerError(f"{path}: cannot read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise AudioRestorerError(
            f"{path}: not valid YAML: line {line}: the byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8"
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        hint = "; indent with spaces, not with tabs" if "'\\t'" in str(error) else ""
        reason = " ".join(str(error).replace('in "<unicode string>",', "at").split())
        raise AudioRestorerError(f"{path}: not valid YAML: {reason:.400}{hint}") from error


def yaml_value(text: str, where: str) -> Any:
    """A value that is written as YAML on a command line; an empty text is null.

    Raises:
        AudioRestorerError: names `where` and the reason.
    """
    try:
        return _parsed(text, _Strict) if text.strip() else None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>",', "at").split())
        raise AudioRestorerError(f"{where}: not valid YAML: {reason:.400}") from error


def _parsed(text: str, kind: type[_Strict]) -> Any:
    loader = kind(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        _size(node, {}, 0)
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Strict(yaml.SafeLoader):
    """PyYAML's safe loader that refuses a key that is there twice, and says where a number or date is none."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            raise yaml.MarkedYAMLError(None, None, str(error), node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if isinstance(key, yaml.ScalarNode) and name in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} is there twice", key.start_mark)
            seen[name] = key
        return super().construct_mapping(node, deep)


class _Foreign(_Strict):
    """As `_Strict`, with the tags of Python's objects overlooked."""


def _as_plain(loader: _Foreign, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


_Foreign.add_multi_constructor("tag:yaml.org,2002:python/", _as_plain)


def _size(node: yaml.Node, sizes: dict[int, int], depth: int) -> int:
    """Nodes below and with this one, aliases written out."""
    if sizes.get(id(node)) == 0:
        raise yaml.MarkedYAMLError(None, None, "an alias that contains itself", node.start_mark)
    if depth > MAX_DEPTH:
        raise yaml.MarkedYAMLError(None, None, f"more than {MAX_DEPTH} levels deep", node.start_mark)
    if id(node) not in sizes:
        sizes[id(node)] = 0
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif isinstance(node, yaml.MappingNode):
            inner = [each for pair in node.value for each in pair]
        sizes[id(node)] = 1 + sum(_size(each, sizes, depth + 1) for each in inner)
    if sizes[id(node)] > MAX_NODES:
        problem = f"its aliases stand for more than {MAX_NODES} values: write out what is meant"
        raise yaml.MarkedYAMLError(None, None, problem, node.start_mark)
    return sizes[id(node)]


def section(content: Any, name: str, where: str) -> Mapping[str, Any]:
    """A section of a file's content; an absent one is empty.

    Raises:
        AudioRestorerError: the content or its section is not a mapping.
    """
    settings = content.get(name) or {} if isinstance(content, dict) else content
    if not isinstance(settings, dict):
        raise AudioRestorerError(f"{where}: {name}: a mapping of settings is needed (got {shown(settings)})")
    return settings
