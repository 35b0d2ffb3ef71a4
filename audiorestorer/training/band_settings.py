"""The shape of a network over bands (`models.band_config`), as an experiment says it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from audiorestorer.config import Settings

# Types with their bounds and descriptions, for a subclass that has another default
SampleRate = Annotated[int, Field(ge=8000, le=96000, description="Sample rate of the examples, Hz")]
Bands = Annotated[int, Field(ge=1, le=512, description="Bands of equal width in mel")]
RnnHidden = Annotated[int, Field(ge=4, le=1024, description="Recurrent units over all bands, per direction")]


class BandNetworkSettings(Settings):
    """Shape of a network over bands (`BandConfig`)."""

    sample_rate: SampleRate = 22050
    n_fft: int = Field(1024, ge=64, le=8192, description="STFT size in samples")
    hop_length: int = Field(256, ge=16, le=4096, description="Samples between frames; divides n_fft / 2")
    bands: Bands = 24
    band_width: int = Field(32, ge=4, le=1024, description="Features per band")
    band_hidden: int = Field(32, ge=4, le=1024, description="Recurrent units per direction within each band")
    rnn_hidden: RnnHidden = 64
    rnn_layers: int = Field(2, ge=1, le=8, description="Turns of the two recurrent layers")
