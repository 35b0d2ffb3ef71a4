"""Export a checkpoint as ONNX, checked against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_json
from audiorestorer.models.export import write_checked
from audiorestorer.models.mask_unet import load_checkpoint
from audiorestorer.store import sha256_file
from audiorestorer.training.settings import check_network

EXAMPLE_SEC = 2.0


def run(
    checkpoint: Path, out: Path, *, config: Path | None = None, sr: int | None = None, length: int | None = None
) -> dict[str, Any]:
    """Write `out`, and beside it what was checked (`.json`).

    Args:
        config: experiment file; its network must be the checkpoint's.
        sr: the model's rate, as a check.
        length: samples of the example that is traced and compared; every other length works too.

    Raises:
        AudioRestorerError: not a checkpoint, another rate or network, or ONNX Runtime and PyTorch differ.
    """
    network, metadata = load_checkpoint(checkpoint)
    rate = network.config.sample_rate
    if sr is not None and sr != rate:
        raise AudioRestorerError(f"{checkpoint}: the model works at {rate} Hz, --sr says {sr}")
    if config is not None:
        check_network(network.config, Path(config))
    if length is not None and length < network.config.hop_length:
        raise AudioRestorerError(f"--length {length}: at least one hop ({network.config.hop_length} samples)")
    about = {
        "architecture": metadata["architecture"],
        "format_version": metadata["format_version"],
        "task": metadata["task"],
        "checkpoint_sha256": sha256_file(checkpoint),
    }
    figures = write_checked(Path(out), network, about, length or int(EXAMPLE_SEC * rate))
    figures |= {
        "sample_rate": rate,
        "input": "mixture [batch, 1, samples]",
        "output": "speech [batch, 1, samples]",
        **about,
    }
    write_json(Path(out).with_suffix(".json"), figures)
    print(
        f"{out}: {figures['size_mb']} MB, opset {figures['opset']}, largest difference {figures['max_difference']:.1e}"
    )
    return figures
