"""Peers that people install today, as functions of `[1, T]` and a rate with as many samples, aligned with the input.

- pyrnnoise: RNNoise at 48 kHz, whatever the recording's rate; 16-bit samples, its own format.
- noisereduce: `reduce_noise(stationary=False)`, all else by default.
- afftdn: FFmpeg's filter through PyAV's libavfilter, at the recording's rate: by default, and with a noise floor
  for audible noise (`nf=-25`, dB; the filter's own is -50). `tn=1` changes no sample of what it gives here.
- librosa HPSS (`librosa.effects`): a row for keeping the harmonic part and one for the percussive.
- librosa nn_filter: REPET-SIM-like (Rafii & Pardo 2012). The common part of similar frames at least 2 s apart is the background;
  the foreground is kept by a soft mask, with the constants of librosa's own gallery example (margin 10, power 2).

Delays are measured: each peer gets a voice-like probe at the recording's rate, and its output is shifted by the lag of the
highest correlation. A peer that cannot be imported is a row that says why.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import correlate

from audiorestorer.audio import Audio
from audiorestorer.store import key_of, sha256_file
from scripts.bench.quality_sets import Clip, at_rate
from scripts.bench.quality_systems import Networks, System, model_system

Function = Callable[[Audio, int], Audio]
RNNOISE_HZ = 48_000
LONGEST_DELAY_SEC = 0.1
PROBE_SEC = 3.0
RELEASED = (
    "deepfilternet3",
    "gtcrn",
    "dtln",
    "htdemucs_ft",
    "mdx_extra_q",
    "dns64",
)  # of the registry: measured where their weights are at hand
NN_GAP_SEC, NN_MARGIN, NN_POWER = 2.0, 10.0, 2.0


def rnnoise(signal: Audio, rate: int) -> Audio:
    from pyrnnoise import RNNoise

    given = np.clip(at_rate(signal, rate, RNNOISE_HZ), -1, 1)
    whole = (given * 32767).round().astype(np.int16)
    frames = [frame for _, frame in RNNoise(RNNOISE_HZ).denoise_chunk(whole, partial=True)]
    return at_rate(np.concatenate(frames, axis=1).astype(np.float32) / 32768, RNNOISE_HZ, rate)


def noisereduce(signal: Audio, rate: int) -> Audio:
    from noisereduce import reduce_noise

    return np.asarray(reduce_noise(y=signal[0], sr=rate, stationary=False), np.float32)[None]


def afftdn(options: str) -> Function:
    def run(signal: Audio, rate: int) -> Audio:
        import av
        from av.filter import Graph

        graph = Graph()
        source = graph.add_abuffer(sample_rate=rate, format="fltp", layout="mono", time_base=Fraction(1, rate))
        nodes = [source, graph.add("afftdn", options), graph.add("abuffersink")]
        graph.link_nodes(*nodes).configure()
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(signal), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        source.push(frame)
        source.push(None)
        parts = []
        while True:
            try:
                parts.append(nodes[-1].pull().to_ndarray())
            except (av.error.EOFError, av.error.BlockingIOError):
                return np.concatenate(parts, axis=1)

    return run


def hpss(part: str) -> Function:
    def run(signal: Audio, rate: int) -> Audio:
        import librosa

        return np.asarray(getattr(librosa.effects, part)(signal[0]), np.float32)[None]

    return run


def nn_filter(signal: Audio, rate: int) -> Audio:
    import librosa

    spectrum = librosa.stft(signal[0])
    whole = np.abs(spectrum)
    # a short clip leaves less room for the gap
    gap = min(int(librosa.time_to_frames(NN_GAP_SEC, sr=rate)), (whole.shape[1] - 1) // 2 - 1)
    alike = librosa.decompose.nn_filter(whole, aggregate=np.median, metric="cosine", width=max(1, gap))
    background = np.minimum(whole, alike)
    mask = librosa.util.softmask(whole - background, NN_MARGIN * background, power=NN_POWER)
    return np.asarray(librosa.istft(spectrum * mask, length=signal.shape[1]), np.float32)[None]


# name -> package that must import, function
PEERS: dict[str, tuple[str, Function]] = {
    "RNNoise": ("pyrnnoise", rnnoise),
    "noisereduce, non-stationary": ("noisereduce", noisereduce),
    "FFmpeg afftdn": ("av", afftdn("")),
    "FFmpeg afftdn=nf=-25": ("av", afftdn("nf=-25")),
    "HPSS, harmonic part": ("librosa", hpss("harmonic")),
    "HPSS, percussive part": ("librosa", hpss("percussive")),
    "nn_filter, foreground": ("librosa", nn_filter),
}


def probe(rate: int) -> Audio:
    """Three seconds of gliding harmonics in syllables over a little noise, `[1, T]`: it has no period to be caught at."""
    rng = np.random.default_rng(0)
    t = np.arange(int(PROBE_SEC * rate)) / rate
    phase = 2 * np.pi * np.cumsum(130 + 40 * np.sin(2 * np.pi * 0.7 * t) + 15 * t) / rate
    top = int(min(7600, 0.45 * rate) / 215)  # the highest pitch is 215 Hz
    voice = sum(np.sin(k * phase + k * k) / np.sqrt(k) for k in range(1, top)) * (np.sin(2 * np.pi * 3 * t) > -0.3)
    return (0.05 * voice + 0.0003 * rng.normal(size=t.size)).astype(np.float32)[None]


def lag_of(output: Audio, given: Audio, rate: int) -> int:
    """Delay of an output in samples: the lag of the highest correlation within +-0.1 s.

    First differences are correlated: the bass that rules a voice has so broad a peak that its top was a sample off (RNNoise at
    44.1 kHz), and a sample is worth 1.7 dB of SI-SDR at 12 dB.
    """
    most = int(LONGEST_DELAY_SEC * rate)
    late, early = (np.diff(signal[0].astype(np.float64)) for signal in (output, given))
    correlation = correlate(late, early, mode="full", method="fft")
    middle = len(early) - 1
    return int(correlation[middle - most : middle + most + 1].argmax()) - most


class Aligned:
    """A peer whose delay is measured once per rate and compensated. `delays`: rate in Hz -> samples."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.delays: dict[int, int] = {}

    def _padded(self, signal: Audio, rate: int) -> Audio:
        return self.function(np.pad(signal, ((0, 0), (0, int(LONGEST_DELAY_SEC * rate)))), rate)

    def measure(self, rate: int) -> int:
        """Samples by which the peer is late at a rate."""
        if rate not in self.delays:
            given = probe(rate)
            self.delays[rate] = lag_of(self._padded(given, rate), given, rate)
        return self.delays[rate]

    def __call__(self, signal: Audio, rate: int) -> Audio:
        """The peer's output `[1, T]`, aligned with the input."""
        late = self.measure(rate)
        out = self._padded(signal, rate)
        out = out[:, late:] if late >= 0 else np.pad(out, ((0, 0), (-late, 0)))
        return at_rate(out, rate, rate, signal.shape[1])


def _run(aligned: Aligned) -> Callable[[Clip], Audio]:
    def run(clip: Clip) -> Audio:
        aligned.measure(clip.rate)  # outside of what is timed, and a warm-up
        made: Audio = clip.part(str(id(aligned)), lambda _: aligned(clip.noisy, clip.rate))
        return made

    return run


def _weights(module: Any) -> int:
    """Bytes of a peer's network: RNNoise's is compiled into its library."""
    place = Path(module.__file__).parent
    return sum(path.stat().st_size for path in place.glob("librnnoise.*"))


def peer_systems(networks: Networks) -> list[System]:
    """One row per peer."""
    systems = []
    for name, (package, function) in PEERS.items():
        try:
            module = importlib.import_module(package)
            version = metadata.version(package)
        except (ImportError, OSError) as error:
            systems.append(System(name, "peer", "", missing=f"{package} cannot be imported ({error})"))
            continue
        aligned = Aligned(function)
        identity = key_of(peer=name, version=version, own=sha256_file(__file__))
        title = f"{name} ({package} {version})"
        systems.append(System(title, "peer", identity, _weights(module), _run(aligned), delay=aligned.measure))
    return [*systems, *(model_system(name, name, networks, "peer") for name in RELEASED)]
