"""Settings as YAML, each with its description in a comment above it; and what they may be, as a JSON schema."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, PydanticUndefined

from audiorestorer.checking import Settings


class _Untitled(GenerateJsonSchema):
    """A key is its own title."""

    def field_title_should_be_set(self, schema: CoreSchema | Any) -> bool:
        return False


def schema_text(model: type[BaseModel], title: str) -> str:
    """A JSON schema (draft 2020-12) as YAML. Checks that compare several keys are not in it."""
    schema = {
        "$schema": GenerateJsonSchema.schema_dialect,
        **model.model_json_schema(schema_generator=_Untitled),
        "title": title,
    }
    return yaml.safe_dump(schema, sort_keys=False, allow_unicode=True, width=130)


def yaml_lines(
    model: type[BaseModel], values: BaseModel | None = None, indent: int = 0, only: Collection[str] | None = None
) -> list[str]:
    """Settings as YAML, each key under a comment that says what it means.

    A section that is null, or a list of sections that is empty, is followed by the keys that it could have, as comments.

    Args:
        values: the settings; None: each key's default, `...` where it has none.
        only: keys to write; None: all.
    """
    pad = " " * indent
    lines: list[str] = []
    for name, field in model.model_fields.items():
        if only is not None and name not in only:
            continue
        value = field.get_default(call_default_factory=True) if values is None else getattr(values, name)
        if meaning := _meaning(model, name):
            lines.append(f"{pad}# {meaning}")
        if isinstance(value, Settings):
            lines += ["", f"{pad}{name}:", *yaml_lines(type(value), value, indent + 2)]
        elif isinstance(value, list) and value and isinstance(value[0], Settings):
            lines.append(f"{pad}{name}:")
            for entry in value:
                inner = yaml_lines(type(entry), entry, indent + 4)
                first = next(i for i, line in enumerate(inner) if not line.lstrip().startswith("#"))
                lines += [*inner[:first], f"{pad}  - {inner[first].lstrip()}", *inner[first + 1 :]]
        else:
            lines.append(f"{pad}{name}: {_yaml_value(value)}")
            lines += [f"{pad}# {line}".rstrip() for line in _absent_section(field.annotation, value)]
    return lines


def _meaning(model: type[BaseModel], name: str) -> str | None:
    """A key's description; one that a subclass gives another default has that of the class above."""
    parents = [parent for parent in model.__mro__ if issubclass(parent, BaseModel) and name in parent.model_fields]
    return next((text for parent in parents if (text := parent.model_fields[name].description)), None)


def _yaml_value(value: Any) -> str:
    if value is PydanticUndefined:
        return "..."
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).strip()
    return text.removesuffix("...").strip()


def _absent_section(annotation: Any, value: Any) -> list[str]:
    """The keys of a section that is not there: of `Section | None` and of `list[Section]`."""
    for kind in get_args(annotation):
        if not value and isinstance(kind, type) and issubclass(kind, Settings):
            return [f"  {'- ' if isinstance(value, list) else ''}with these keys:", *yaml_lines(kind, None, 4)]
    return []
