"""The enhancer over whole recordings: any rate, any number of channels, any length, in bounded memory. It is no `Separator`.

    from audiorestorer.separators.enhancer import SpeechEnhancer

    enhancer = SpeechEnhancer.load("models/pilot/pilot_enhancer.safetensors")
    out = enhancer(audio, 16_000)               # audio [C, T] float32
    out.enhanced, out.denoised, out.sample_rate

Each channel goes through by itself at its own level. The level is that of the whole channel, so that all windows are treated alike;
windows of one size (group norms see the whole of a window) overlap and are cross-faded with weights that sum to one. Of a recording
with more band than the network has, the band above is kept, scaled by the denoiser's gain near the top of its own band.

A `Separator` gives stems whose sum is the input and knows no seed, level or generated band; so the enhancer has its own stage, and
shares with the separators their reading of recordings, the overlap-add and the top gain.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.config import EnhanceSettings
from audiorestorer.devices import on_gpu, pick_device
from audiorestorer.dsp import keeping
from audiorestorer.dsp.outliers import limited
from audiorestorer.dsp.overlap_add import process
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.enhancer.checkpoint import load_checkpoint
from audiorestorer.models.enhancer.denoiser import Denoiser
from audiorestorer.models.enhancer.enhancer import PARTS, Enhancer
from audiorestorer.separators import as_numpy, as_torch
from audiorestorer.separators.enhancing import Level, RecordingEnhancer
from audiorestorer.separators.mask_network import top_gain
from audiorestorer.separators.runtime.streaming import Recording

PACKAGES = ("torch",)  # read before the run begins, without an import
GPU_ROWS = 8
SILENT = 1e-5  # of the recording's level (-100 dB): nothing is made where the input is below it
GATE_FRAMES = 2  # frames on each side of an audible one that are not gated


class SpeechEnhancer(RecordingEnhancer):
    """A loaded enhancer with the settings of a run."""

    def __init__(self, model: Enhancer, settings: EnhanceSettings | None = None, device: str = "cpu") -> None:
        """`model`: after `prepare`."""
        self.settings = settings or EnhanceSettings()
        self.model, self.device = model.to(device), device
        self.rows = self.settings.batch_size or (GPU_ROWS if on_gpu(device) else 1)
        self.sample_rate = model.sample_rate

    @classmethod
    def load(
        cls, checkpoint: str | Path, settings: EnhanceSettings | None = None, device: str = "auto", threads: int = 1
    ) -> SpeechEnhancer:
        """Read a checkpoint.

        Raises:
            AudioRestorerError: no enhancer's checkpoint, a part that is needed and not in it, or no such device.
        """
        settings = settings or EnhanceSettings()
        model, metadata = load_checkpoint(checkpoint)
        wanted = ["denoiser"] if settings.denoise_only else list(PARTS)
        missing = [part for part in wanted if part not in metadata["parts"]]
        if missing:
            rest = "" if "denoiser" in missing else "; the denoiser alone can be used (denoise_only)"
            raise AudioRestorerError(f"{checkpoint}: holds no {', '.join(missing)}{rest}")
        return cls(model.prepare(settings.precision), settings, pick_device(device, threads))

    def stream(
        self, recording: Recording, seed: int = 0, found: list[str] | None = None, scratch: Path | None = None
    ) -> Iterator[dict[str, Audio]]:
        """See `RecordingEnhancer.stream`. Unless `regenerate_all` says otherwise, `denoised` is so as far as its noise calls for, and
        `enhanced` is that with what the recording lacks above its band."""
        level = Level.of(recording)
        if self.settings.denoise_only or self.settings.regenerate_all:
            yield from self._made(recording, level, seed, denoise_only=self.settings.denoise_only)
        else:
            yield from self._kept(recording, level, seed)

    def _kept(self, recording: Recording, level: Level, seed: int) -> Iterator[dict[str, Audio]]:
        """What the recording holds, and made only what it lacks (`dsp.keeping`)."""
        rate, out_rate = recording.sample_rate, self.output_rate(recording.sample_rate)
        total = recording.frames_at(out_rate)
        found = keeping.held(recording.open(), rate, level.active)
        wet = np.array([[each.wet] for each in found], np.float32)
        lacks = any(each.lacks(self.sample_rate) for each in found)
        given = recording.at_rate(out_rate)
        if not wet.any() and not lacks:
            yield from ({"denoised": block, "enhanced": block} for block in given)
            return
        size = int(audio.BLOCK_SEC * out_rate)
        blocks = self._made(recording, level, seed, denoise_only=not lacks)
        pairs = zip(blocks, audio.rechunk(given, size), strict=True)
        mixed = ((block, wet * block["denoised"] + (1 - wet) * own) for block, own in pairs)
        if not lacks:
            yield from ({"denoised": kept, "enhanced": kept} for _, kept in mixed)
            return
        first, second, third = audio.copies(mixed, 3)
        kept, below = (own for _, own in first), (own for _, own in second)
        made = (block["enhanced"] for block, _ in third)
        limits = [each.band_hz if each.lacks(self.sample_rate) else out_rate for each in found]
        whole = audio.rechunk(keeping.joined(below, made, total, out_rate, limits), size)
        for block, enhanced in zip(kept, whole, strict=True):
            yield {"denoised": block, "enhanced": enhanced}

    def _made(
        self, recording: Recording, level: Level, seed: int, *, denoise_only: bool
    ) -> Iterator[dict[str, Audio]]:  # fmt: skip
        """What the networks make of the whole: `denoised` and, unless `denoise_only`, `enhanced`."""
        rate, channels, out_rate = recording.sample_rate, recording.channels, self.output_rate(recording.sample_rate)
        names = ["denoised"] if denoise_only else ["denoised", "enhanced"]
        total = recording.frames_at(self.sample_rate)
        blocks = audio.fit_length(self._windows(recording, level, total, seed, denoise_only), total)
        above = self.sample_rate < rate  # then the output's rate is the recording's
        if above:
            names += ["gain", "low"]
            size = int(audio.BLOCK_SEC * self.sample_rate)
            low = recording.at_rate(self.sample_rate)
            pairs = zip(audio.rechunk(blocks, size), audio.rechunk(low, size), strict=True)
            blocks = (np.concatenate(pair) for pair in pairs)
        back = audio.resample_blocks(blocks, self.sample_rate, out_rate, len(names) * channels)
        exact = audio.fit_length(back, recording.frames_at(out_rate))
        size = int(audio.BLOCK_SEC * out_rate)
        inputs = audio.rechunk(recording.open(), size) if above else repeat(None)
        for block, given in zip(audio.rechunk(exact, size), inputs, strict=False):
            if not np.isfinite(block).all():
                raise AudioRestorerError("the network's output holds NaN or infinite samples")
            out = {name: block[row * channels : (row + 1) * channels] for row, name in enumerate(names)}
            if given is not None:
                high = np.clip(out.pop("gain"), 0, 1) * (given - out.pop("low"))
                out = {name: speech + high for name, speech in out.items()}
            yield out

    def _source(self, recording: Recording, bound: NDArray[np.float32] | None = None) -> Iterator[Audio]:
        """The recording's blocks at the network's rate, limited to `bound` where it is given."""
        blocks = recording.open() if bound is None else limited(recording.open(), bound)
        return audio.resample_blocks(blocks, recording.sample_rate, self.sample_rate, recording.channels)

    def _windows(
        self, recording: Recording, level: Level, total: int, seed: int, denoise_only: bool
    ) -> Iterator[Audio]:  # fmt: skip
        """`[outputs x C, n]` at the network's rate, at least `total` samples; the last output is the gain for the band above."""
        hop = self.model.settings.features.hop_length
        whole = -(-total // hop) * hop  # windows begin on frames
        plan, starts = self.windows(whole, hop, max(1, self.rows // recording.channels))
        above = self.sample_rate < recording.sample_rate

        def run(windows: Audio) -> Audio:
            first = [next(starts) for _ in windows]
            return self._run(windows, level.active, seed, first, above, denoise_only)

        return process(audio.fit_length(self._source(recording, level.bound), whole), whole, plan, run)

    def _run(
        self, windows: Audio, levels: NDArray[np.float32], seed: int, starts: list[int], above: bool, denoise_only: bool
    ) -> Audio:  # fmt: skip
        """Windows `[B, C, N]` to `[B, outputs x C, N]`."""
        count, channels, length = windows.shape
        same = channels > 1 and (windows == windows[:, :1]).all() and (levels == levels[0]).all()
        own = 1 if same else channels  # equal channels are mono in disguise: once is enough
        given = windows[:, :own].reshape(-1, length)
        level, first = np.tile(levels[:own], count), np.repeat(starts, own)
        cuts = [slice(begin, begin + self.rows) for begin in range(0, len(given), self.rows)]
        out = np.concatenate(
            [self._rows(given[cut], level[cut], seed, first[cut], above, denoise_only) for cut in cuts], axis=1
        )
        out = out.reshape(-1, count, own, length).swapaxes(0, 1)
        return np.broadcast_to(out, (count, out.shape[1], channels, length)).reshape(count, -1, length)

    def _rows(
        self, given: Audio, levels: NDArray[np.float32], seed: int, starts: NDArray[np.int64], above: bool, denoise_only: bool
    ) -> Audio:  # fmt: skip
        """`[R, N]` to `[outputs, R, N]`."""
        settings = self.settings
        audio_in = as_torch(given, self.device)
        out = self.model(
            audio_in,
            level=as_torch(levels[:, None], self.device),
            seeds=[seed] * len(given),
            nfe=settings.nfe,
            solver=settings.solver,
            lambd=settings.lambd,
            tau=settings.tau,
            denoise_only=denoise_only,
            starts=[int(start) for start in starts],
        )
        outputs = [signal for signal in (out.denoised, out.enhanced) if signal is not None]
        if above:
            outputs.append(self._gain(audio_in, out.denoised))
        return as_numpy(torch.stack(outputs)) * audible(given, levels, self.model.settings.features.hop_length)

    @property
    def denoiser(self) -> Denoiser:
        return self.model.denoiser

    @torch.inference_mode()
    def _gain(self, given: torch.Tensor, denoised: torch.Tensor) -> torch.Tensor:
        """The denoiser's gain near its Nyquist frequency, `[R, N]`, for the band above it."""
        denoiser = self.denoiser
        before, after = (denoiser.spectrum(signal.float()).abs() for signal in (given, denoised))
        mask = (after / before.clamp_min(torch.finfo(torch.float32).tiny)).clamp(0, 1)
        return as_torch(top_gain(as_numpy(mask), given.shape[1], denoiser.settings.hop_length), self.device)


def audible(given: Audio, levels: NDArray[np.float32], hop: int) -> Audio:
    """Gain `[R, N]`: 0 where a row of `[R, N]` is silent for longer than a few frames, 1 elsewhere, with ramps of a frame."""
    rows, length = given.shape
    frames = given.reshape(rows, length // hop, hop)
    loud = np.abs(frames).max(axis=2) > SILENT * levels[:, None]
    padded = np.pad(loud, ((0, 0), (GATE_FRAMES, GATE_FRAMES)))
    near = np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * GATE_FRAMES + 1, axis=1).any(axis=2))
    if near.all():
        return np.ones((1, 1), np.float32)
    centres, places = (np.arange(near.shape[1]) + 0.5) * hop, np.arange(length)
    return np.stack([np.interp(places, centres, row.astype(np.float32)) for row in near]).astype(np.float32)
