"""Which enhancer a checkpoint or a model of the registry is. Torch is imported where it is needed alone."""

from __future__ import annotations

from pathlib import Path

from audiorestorer.config import EnhanceSettings
from audiorestorer.devices import pick_device
from audiorestorer.models import arrays, extension
from audiorestorer.separators import ModelFiles, Options
from audiorestorer.separators import load as load_network
from audiorestorer.separators.enhancing import RecordingEnhancer
from audiorestorer.separators.extension import SpeechRepair


def enhancer_of(
    model: Path | ModelFiles, config: EnhanceSettings, device: str, threads: int, denoiser: ModelFiles | None = None
) -> RecordingEnhancer:
    """A checkpoint of this project's, or a model of the registry in its own layout.

    Args:
        denoiser: of a model of kind extension; None: noise stays.

    Raises:
        AudioRestorerError: a model that cannot be used, or no such device.
    """
    if isinstance(model, ModelFiles) and model.network is not None:
        from audiorestorer.separators.resemble_enhancer import ResembleEnhancer

        return ResembleEnhancer.of_model(model, config, device, threads)
    path = model.one(".safetensors") if isinstance(model, ModelFiles) else model
    if arrays.architecture_of(path) == extension.ARCHITECTURE:
        pick_device(device, threads)  # a GPU that is asked for must be there, though this kind needs none
        other = load_network(denoiser, Options(threads=threads)) if denoiser else None
        return SpeechRepair.load(path, config, other, threads)
    from audiorestorer.separators.enhancer import SpeechEnhancer

    return SpeechEnhancer.load(path, config, device, threads)
