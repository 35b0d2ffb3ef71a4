"""Settings as YAML, each with its description in a comment above it."""

from __future__ import annotations

import yaml
from pydantic import BaseModel

from audiorestorer.checking import Settings


def yaml_lines(settings: BaseModel, indent: int) -> list[str]:
    """The lines of all settings of a model and of those inside it; `indent` spaces before each."""
    pad = " " * indent
    lines: list[str] = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if field.description:
            lines.append(f"{pad}# {field.description}")
        if isinstance(value, Settings):
            lines += ["", f"{pad}{name}:", *yaml_lines(value, indent + 2)]
        elif isinstance(value, list) and value and isinstance(value[0], Settings):
            lines.append(f"{pad}{name}:")
            for entry in value:
                inner = yaml_lines(entry, indent + 4)
                first = next(i for i, line in enumerate(inner) if not line.lstrip().startswith("#"))
                lines += [*inner[:first], f"{pad}  - {inner[first].lstrip()}", *inner[first + 1 :]]
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).strip()
            lines.append(f"{pad}{name}: {text.removesuffix('...').strip()}")
    return lines
