"""Small coded recordings for tests, made by FFmpeg: any codec in any container, with tags, more tracks, or a picture stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from audiorestorer.audio import Audio

BLOCK = 1024


def noise(rate: int, frames: int, channels: int = 1, seed: int = 0) -> Audio:
    """Noise below an eighth of the rate, which every codec keeps well, `[C, T]`."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((channels, frames)))
    spectrum[:, len(spectrum[0]) // 4 :] = 0
    signal = np.fft.irfft(spectrum, frames)
    return np.asarray(0.1 * signal / signal.std(), np.float32)


def write_coded(
    path: Path,
    signals: list[tuple[Audio, int]],
    codec: str,
    muxer: str,
    *,
    video: str = "",
    start: int = 0,
    hole: tuple[int, int] = (0, 0),
    **tags: str,
) -> Path:
    """A file with a sound track for each (signal, rate), which begins at a sample; `hole`: (sample, samples) that lack in it;
    `video`: codec of a second of pictures."""
    with av.open(str(path), "w", format=muxer, options={"fflags": "+bitexact"}) as container:
        container.metadata.update(tags)
        tracks: list[tuple[Any, Audio, int]] = []
        for signal, rate in signals:
            stream: Any = container.add_stream(codec, rate=rate, layout={1: "mono", 2: "stereo", 6: "5.1"}[len(signal)])
            stream.bit_rate = 96_000 * len(signal)
            tracks.append((stream, signal, rate))
        picture: Any = None
        if video:
            picture = container.add_stream(video, rate=25)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
        for stream, signal, rate in tracks:
            _encode(container, stream, signal, rate, start, hole)
        for number in range(25 if video else 0):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 9 * number, np.uint8), format="rgb24")
            container.mux(picture.encode(frame))
        if video:
            container.mux(picture.encode(None))
    return path


def _encode(container: Any, stream: Any, signal: Audio, rate: int, start: int, hole: tuple[int, int]) -> None:
    layout = stream.codec_context.layout.name
    convert = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
    for begin in range(0, signal.shape[1], BLOCK):
        part = np.ascontiguousarray(signal[:, begin : begin + BLOCK])
        frame = av.AudioFrame.from_ndarray(part.T.reshape(1, -1).copy(), format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate, start + begin + (hole[1] if begin >= hole[0] and hole[1] else 0)
        for converted in convert.resample(frame):
            container.mux(stream.encode(converted))
    for converted in [*convert.resample(None), None]:
        container.mux(stream.encode(converted))
