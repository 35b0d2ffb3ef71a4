"""Make a trained checkpoint an entry of the registry, so that the render half can use it by name."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from audiorestorer.config import NAME_PATTERN, read_yaml
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_text_atomic
from audiorestorer.models import registry
from audiorestorer.models.mask_unet import load_checkpoint
from audiorestorer.store import sha256_file


def run(checkpoint: Path, name: str, registry_file: Path, licence: str, *, replace: bool = False) -> str:
    """Append an entry to a registry file (made when absent); comments and other entries stay as they are.

    Args:
        checkpoint: safetensors file that `train` wrote; it stays where it is.
        name: of the entry; letters, digits, _ and -.
        licence: of the weights.
        replace: point an entry of that name that is there already to this checkpoint.

    Returns:
        The lines to put into the configuration.

    Raises:
        AudioRestorerError: not a checkpoint of ours, a bad name, a name that is taken.
    """
    if not re.match(NAME_PATTERN, name):
        raise AudioRestorerError(f"{name!r}: a name has letters, digits, _ and - only")
    _, metadata = load_checkpoint(checkpoint)
    task = str(metadata["task"])
    source = os.path.relpath(Path(checkpoint).resolve(), registry_file.resolve().parent)
    entry = {
        "kind": "mask_network",
        "task": task,
        "source": source,
        "files": [{"name": Path(checkpoint).name, "sha256": sha256_file(checkpoint)}],
        "licence": licence,
        "sample_rate": int(metadata["sample_rate"]),
    }
    text = registry_file.read_text(encoding="utf-8") if registry_file.exists() else "models:\n"
    taken = name in (read_yaml(registry_file).get("models") or {}) if registry_file.exists() else False
    if taken and not replace:
        raise AudioRestorerError(f"{registry_file}: has a model {name!r} already (--replace points it to {checkpoint})")
    if taken:
        text = re.sub(rf"(?m)^  {re.escape(name)}:\n(?:    .*\n?|\n(?=    ))*", "", text)
    block = yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True)
    text = text.rstrip("\n") + "\n" + "".join(f"  {line}\n" for line in block.splitlines())
    temporary = registry_file.with_name(f".{registry_file.name}.check")
    write_text_atomic(temporary, text)
    try:
        registry.load(temporary)  # never leave a registry that cannot be read
    finally:
        temporary.unlink()
    write_text_atomic(registry_file, text)
    use = f"separators: [{{name: {name}, model: {name}}}]" if task == "separate" else f"denoise: {{model: {name}}}"
    print(f"registered {name} in {registry_file}; in your configuration:\n\n{use}\nregistry: {registry_file}")
    return use
