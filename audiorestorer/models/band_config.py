"""The shape of a network over bands that is no mask network, and how its checkpoint says it. NumPy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from audiorestorer.errors import AudioRestorerError

LIMITS = {
    "sample_rate": (4_000, 384_000), "n_fft": (64, 16_384), "hop_length": (16, 8_192), "bands": (1, 512), "band_width": (1, 1_024),
    "band_hidden": (1, 1_024), "rnn_hidden": (1, 8_192), "rnn_layers": (1, 32),
}  # fmt: skip


@dataclass(frozen=True)
class BandConfig:
    """Shape of the network.

    Attributes:
        sample_rate, n_fft, hop_length: of its STFT. The others: see `mask_config.MaskUNetConfig`.
    """

    sample_rate: int = 22_050
    n_fft: int = 1024
    hop_length: int = 256
    bands: int = 24
    band_width: int = 32
    band_hidden: int = 32
    rnn_hidden: int = 64
    rnn_layers: int = 2

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise AudioRestorerError(f"{name}: {value!r:.40}; allowed: a whole number, {least} to {most}")
        if self.n_fft % (2 * self.hop_length) or self.bands > self.n_fft // 2:
            raise AudioRestorerError(
                f"n_fft {self.n_fft} must be a multiple of 2 hop_length, and have a bin for each band"
            )

    @property
    def bins(self) -> int:
        """Bins that it sees: all but the Nyquist bin."""
        return self.n_fft // 2


Config = TypeVar("Config", bound=BandConfig)


def described(
    path: Path, raw: Mapping[str, str], kind: type[Config], architecture: str, version: int
) -> tuple[Config, dict[str, Any]]:
    """The network of a checkpoint's metadata, and its card.

    Raises:
        AudioRestorerError: another architecture or version, or a configuration out of bounds; names file and reason.
    """
    if (raw.get("architecture"), raw.get("format_version")) != (architecture, str(version)):
        raise AudioRestorerError(
            f"{path}: not a {architecture} network of version {version} (architecture {raw.get('architecture')!r:.40})"
        )
    try:
        values, card = json.loads(raw["config"]), json.loads(raw.get("card", "{}"))
        unknown = set(values) - {field.name for field in fields(kind)}
        if unknown:
            raise AudioRestorerError(f"unknown keys in config: {', '.join(sorted(unknown))}")
        return kind(**values), card
    except (KeyError, TypeError, ValueError, AudioRestorerError) as error:
        raise AudioRestorerError(f"{path}: bad config in the metadata: {error}") from error
