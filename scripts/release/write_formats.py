"""Measure what each format keeps, and print the table of docs/formats.md.

    python -m scripts.release.write_formats

Every format that is written gets a second of noise with a title, a cover and two chapters; what is read again fills the table. A test
looks for it in the page.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from audiorestorer import audio
from audiorestorer.formats import metadata, riff, tagging, video
from audiorestorer.formats.metadata import Metadata, Picture
from audiorestorer.left_out import TAKEN
from audiorestorer.report.tables import markdown_table

RATE = 48_000
# suffixes of one format, and what it is called
WRITTEN = {
    ".wav .wave .bwf": "WAV", ".rf64": "RF64", ".flac": "FLAC", ".aiff .aif .aifc": "AIFF", ".caf": "CAF", ".w64": "W64",
    ".au .snd": "AU", ".mp3": "MP3", ".m4a .m4b": "M4A (AAC)", ".opus": "Opus", ".ogg": "Ogg Vorbis",
}  # fmt: skip
ALAC = "M4A (ALAC)"


def measured(suffix: str, codec: str | None, folder: Path) -> list[str]:
    """Cells of a row: length, tags, cover, chapters, time code and markers."""
    signal = _noise()
    source = audio.AudioInfo(RATE, 1, signal.shape[1], "WAV", "PCM_16")
    format, subtype = audio.output_format(source, suffix, codec=codec)
    given = Metadata(
        {"title": ["T"]},
        [Picture("image/jpeg", 3, _jpeg())],
        [(0.0, 0.5, "a"), (0.5, 1.0, "b")],
        [("bext", bytes(602))],
    )
    path = folder / f"{format}{suffix}"
    audio.write_blocks(
        path, [signal], RATE, 1, format=format, subtype=subtype, bit_rate=128_000, chapters=given.chapters
    )
    tagging.write(path, given, riff.Measured(-23.0, -1.0, RATE, 16, 1, "AudioRestorer"))
    got, _ = audio.read(path)
    exact = got.shape == signal.shape and _lag(signal, got) == 0
    found, _ = metadata.read(path)
    kept = (found.texts == given.texts, found.pictures == given.pictures, len(found.chapters) == 2, bool(found.chunks))
    return ["to the sample" if exact else "differs", *("yes" if one else "no" for one in kept)]


def _noise() -> audio.Audio:
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal((1, RATE + 777)))
    spectrum[:, spectrum.shape[1] // 4 :] = 0
    return np.asarray(np.fft.irfft(spectrum, RATE + 777) * 0.2, np.float32)


def _lag(given: audio.Audio, got: audio.Audio) -> int:
    size = given.shape[1] + got.shape[1]
    return int(np.argmax(np.fft.irfft(np.fft.rfft(got[0], size) * np.conj(np.fft.rfft(given[0], size)), size)))


def _jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(out, "JPEG")
    return out.getvalue()


def table() -> str:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for suffixes, name in WRITTEN.items():
            suffix = suffixes.split()[0]
            rows.append([suffixes.replace(" ", ", "), name, *measured(suffix, None, Path(folder))])
            if suffix == ".m4a":
                rows.append([suffixes.replace(" ", ", "), ALAC, *measured(suffix, "alac", Path(folder))])
    known = {suffix for suffixes in WRITTEN for suffix in suffixes.split()} | set(video.CONTAINERS)
    others = ", ".join(sorted(set(TAKEN) - known))
    head = ["suffix", "comes out as", "first and last sample", "tags", "cover", "chapters", "time code, markers"]
    films = ", ".join(video.CONTAINERS)
    return (
        f"{markdown_table(head, rows)}\n\nVideos that come out as videos: {films}."
        f"\n\nThese are taken too and come out as FLAC: {others}."
    )


if __name__ == "__main__":
    print(table())
