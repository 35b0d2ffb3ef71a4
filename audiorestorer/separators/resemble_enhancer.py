"""Resemble Enhance's released network over whole recordings: its chunks and its way of joining them, read and written in blocks.

A chunk of 30 s begins every 29 s. Each is divided by its peak, and joined to the one before by linear fades of a second after it was
moved to where its spectrum fits the other's best, as its authors' program does. Beside that program: any rate and number of channels
(each channel by itself), memory that does not grow with the length, noise by a seed, and the same silence gate as our own enhancer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.config import EnhanceSettings
from audiorestorer.devices import pick_device
from audiorestorer.models.enhancer import noise, resemble
from audiorestorer.models.enhancer.denoiser import Denoiser
from audiorestorer.models.enhancer.enhancer import VOCODER_SEED
from audiorestorer.models.released import settings_of
from audiorestorer.separators import ModelFiles, as_numpy, as_torch
from audiorestorer.separators.enhancer import SpeechEnhancer, audible
from audiorestorer.separators.enhancing import Level
from audiorestorer.separators.runtime.streaming import Recording

CHUNK_SEC, OVERLAP_SEC = 30, 1
LEAST_SAMPLES = 400  # of a chunk: with the zeros after it, the denoiser's spectrum can be reflected at its ends
SHIFT_MELS = 80  # bands of the spectra by which two chunks are laid over each other
SHIFT_PER_SEC = 200  # places that are tried


def shift(before: Tensor, after: Tensor, rate: int) -> int:
    """Samples by which `after` has to begin later so that it fits `before` best, `[n]` each: circular correlation of their spectra."""
    hop = rate // SHIFT_PER_SEC
    window = 4 * hop
    spectra = torchaudio.transforms.MelSpectrogram(
        rate, 2 ** (window - 1).bit_length(), window, hop, f_max=rate // 2, n_mels=SHIFT_MELS
    )
    first, second = (torch.fft.fft(spectra(each).log1p()) for each in (before, after))
    likeness = torch.fft.ifft(first * second.conj()).abs().mean(dim=0)
    best = int(likeness.argmax())
    return (best - len(likeness) if best > len(likeness) // 2 else best) * hop


class Joined:
    """Chunks of one signal, joined: `add` gives the samples that no later chunk touches."""

    def __init__(self, rate: int, total: int, *, moves: bool = True) -> None:
        """`total`: samples in all. `moves`: lay a chunk where it fits best; otherwise where it was cut."""
        self.rate, self.total, self.moves = rate, total, moves
        self.length, self.overlap = CHUNK_SEC * rate, OVERLAP_SEC * rate
        self._tail: NDArray[np.float32] | None = None  # of the chunk before, as it came
        self._held = np.zeros(0, np.float32)
        self._start, self._count = 0, 0  # of `held` in the signal; chunks so far

    def add(self, chunk: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        """Args: `chunk` `[n]`, at most 30 s; less is filled up with zeros."""
        whole = np.pad(chunk, (0, self.length - len(chunk)))
        begin = self._count * (self.length - self.overlap)
        if self._tail is not None and self.moves:
            begin += shift(torch.from_numpy(self._tail), torch.from_numpy(whole[: self.overlap]), self.rate)
        self._tail = whole[-self.overlap :].copy()
        rising = np.linspace(0, 1, self.overlap, dtype=np.float32)
        if self._count:
            whole[: self.overlap] *= rising
        if not last or not self._count:
            whole[-self.overlap :] *= rising[::-1]
        end = begin + self.length
        self._held = np.pad(self._held, (0, max(0, end - self._start - len(self._held))))
        self._held[begin - self._start : end - self._start] += whole
        self._count += 1
        if last:
            rest = self.total - self._start
            return np.pad(self._held, (0, max(0, rest - len(self._held))))[:rest]
        # the next chunk begins at most half of the overlap earlier than it was cut
        done = self._count * (self.length - self.overlap) - self.overlap - self._start
        out, self._held = self._held[:done], self._held[done:].copy()
        self._start += done
        return out


class ResembleEnhancer(SpeechEnhancer):
    """A loaded network with the settings of a run; its interface is that of `SpeechEnhancer`."""

    def __init__(
        self, network: resemble.Resemble, settings: EnhanceSettings | None = None, device: str = "cpu"
    ) -> None:
        """`network`: after `prepare`."""
        self.settings = settings or EnhanceSettings()
        self.network, self.device, self.rows = network.to(device), device, 1
        self.sample_rate = network.settings.wav_rate

    @classmethod
    def of_model(
        cls, model: ModelFiles, settings: EnhanceSettings | None = None, device: str = "auto", threads: int = 1
    ) -> ResembleEnhancer:
        """Raises AudioRestorerError: impossible settings, a file that does not fit them, or no such device."""
        settings = settings or EnhanceSettings()
        where = f"model {model.name}"
        sizes = settings_of("enhancer", model.network, list(model.files), where)
        weights = model.one(".pt", ".pth", ".ckpt", ".safetensors")
        network = resemble.load(weights, sizes).prepare(settings.precision)
        return cls(network, settings, pick_device(device, threads))

    @property
    def denoiser(self) -> Denoiser:
        return self.network.denoiser

    def draw(self, kind: str, seed: int, channels: int, frames: int, first: int, like: Tensor) -> Tensor:
        """Noise of a chunk that begins at the frame `first` of its recording: `[B, channels, frames]`, one item per row of `like`."""
        seeds = [seed + VOCODER_SEED * (kind == "vocoder")] * len(like)
        return noise.seeded(seeds, channels, frames, like, [first] * len(like))

    def _windows(
        self, recording: Recording, level: Level, total: int, seed: int, denoise_only: bool
    ) -> Iterator[Audio]:  # fmt: skip
        names = ["denoised"] if denoise_only else ["denoised", "enhanced"]
        above = self.sample_rate < recording.sample_rate
        channels, rate = recording.channels, self.sample_rate
        joined = [Joined(rate, total) for _ in range(len(names) * channels)]
        joined += [Joined(rate, total, moves=False) for _ in range(channels * above)]
        chunk, step = CHUNK_SEC * rate, (CHUNK_SEC - OVERLAP_SEC) * rate
        blocks = audio.fit_length(self._source(recording, level.bound), total)
        given = np.zeros((channels, 0), np.float32)
        for start in range(0, total, step):
            while given.shape[1] < min(chunk, total - start):
                given = np.concatenate([given, next(blocks)], axis=1)
            last = start + step >= total
            rows = self._chunk(given[:, :chunk], level.active, seed, start, above, denoise_only).reshape(
                -1, min(chunk, given.shape[1])
            )
            yield np.stack([join.add(row, last=last) for join, row in zip(joined, rows, strict=True)])
            given = given[:, step:]

    def _chunk(
        self, given: Audio, levels: NDArray[np.float32], seed: int, start: int, above: bool, denoise_only: bool
    ) -> Audio:  # fmt: skip
        """`[C, n]` to `[outputs, C, n]`."""
        settings, hop = self.settings, self.network.settings.hop_size
        length = given.shape[1]
        peak = np.maximum(np.abs(given).max(axis=1, keepdims=True), resemble.PEAK_FLOOR)
        after = max(LEAST_SAMPLES - length, 0) + resemble.PAD_SAMPLES
        audio_in = as_torch(np.pad(given / peak, ((0, 0), (0, after))), self.device)

        def draw(kind: str, count: int, frames: int) -> Tensor:
            return self.draw(kind, seed, count, frames, start // hop, audio_in)

        out = self.network(
            audio_in, draw, nfe=settings.nfe, solver=settings.solver, lambd=settings.lambd, tau=settings.tau,
            denoise_only=denoise_only,
        )  # fmt: skip
        signals = [signal for signal in out if signal is not None]
        parts = [as_numpy(signal)[:, :length] * peak for signal in signals]
        if above:
            parts.append(as_numpy(self._gain(audio_in, out.denoised))[:, :length])
        gate = audible(np.pad(given, ((0, 0), (0, -length % hop))), levels, hop)
        return np.stack(parts) * (gate if gate.shape[1] == 1 else gate[:, :length])
