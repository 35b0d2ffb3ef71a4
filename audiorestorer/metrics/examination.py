"""An item's files are looked at before anything is measured: do they sound, does the reference fit, and is it late?

A figure against another sentence, or against a reference that is some milliseconds late, would look like any other figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import soxr

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.dsp.likeness import NOTHING, Match, compare
from audiorestorer.dsp.views import Energies, View, turned
from audiorestorer.errors import AudioRestorerError

LENGTH_TOLERANCE_SEC = 0.1  # a lossy codec's padding; beyond it, two files are not the same recording
LONGEST_DELAY_SEC = 0.5
LEAST_DELAY_SEC = 20e-6  # less than a sample at 48 kHz: filters and codecs do that, and every figure stays as it is
RATE_HZ = 16_000
WHOLE_SEC, WINDOW_SEC, WINDOWS = (
    60.0,
    10.0,
    6,
)  # of a longer file: windows where its reference is loudest, spread over it
SHORTEST_SEC = 0.25  # in less, nothing tells one recording from another
FAINT = 1e-4  # of the loudest window's energy: a window in which the reference is silent
MARGIN = 1.5  # by so much the other view must be more like the reference than that of the energy
CERTAIN = 0.3  # of the likeness to the mixture: the output need not be asked
SURE, DRIFT_SEC = (
    0.2,
    0.001,
)  # windows that are so much alike, and so far apart in time, tell of clocks that do not agree
SILENT_PEAK = 2.0**-15  # one step of 16 bits
SILENT_BELOW_DB = 60.0  # below the mixture; what is left is rounding
CONSTANT_RANGE = 2.0**-23


@dataclass(frozen=True)
class Examined:
    """The findings about an item's mixture, output and reference.

    Attributes:
        view: in which the mixture and the output are heard as one signal; `clean_view`: the reference.
        turned: the second channel of the reference is upside down, compared with the recording's.
        delay_sec: by how much the reference is late; `overlap`: it has another length, and what both hold is measured.
        unlike: why nothing is measured against the reference; None: it fits, or there is none.
        silent: reasons by `noisy`, `output`, of those without sound.
        note: what a user should know of the reference.
    """

    view: View = "mid"
    clean_view: View = "mid"
    turned: bool = False
    delay_sec: float = 0.0
    overlap: bool = False
    unlike: str | None = None
    silent: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None

    @property
    def moved(self) -> bool:
        """Only a part of the recording has a reference."""
        return self.delay_sec != 0 or self.overlap

    def row(self) -> dict[str, Any]:
        return asdict(self)

    def unmoved(self) -> Examined:
        """The same for figures that need no reference."""
        return replace(self, delay_sec=0.0, overlap=False)


class Look:
    """One pass over a file: its level, which view it is heard in, and windows of it.

    Args:
        starts_sec: of windows of `size_sec` seconds; they are kept as `[C, n]`.
    """

    def __init__(self, path: str, starts_sec: Sequence[int] = (), size_sec: float = 0.0) -> None:
        self.info = info = audio.probe(path)
        self.energies, self.power, self.second_energies = Energies(), 0.0, np.zeros(0)
        self.low = np.full(info.channels, np.inf)
        self.high = np.full(info.channels, -np.inf)
        firsts = [start * info.sample_rate for start in starts_sec]
        size = int(size_sec * info.sample_rate)
        self.windows = [
            np.zeros((info.channels, max(0, min(size, info.frames - first))), np.float32) for first in firsts
        ]
        seconds: list[float] = []
        place = 0
        for block in audio.rechunk(audio.blocks(path), info.sample_rate):
            finite = block if np.isfinite(block).all() else np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
            for first, window in zip(firsts, self.windows, strict=True):
                begin, end = max(first, place), min(first + window.shape[1], place + block.shape[1])
                if begin < end:
                    window[:, begin - first : end - first] = finite[:, begin - place : end - place]
            energy = self.energies.add(finite)
            self.low, self.high = np.minimum(self.low, finite.min(axis=1)), np.maximum(self.high, finite.max(axis=1))
            seconds.append(energy - float(np.square(finite.sum(axis=1, dtype=np.float64)).sum()) / block.shape[1])
            self.power += energy / max(1, info.frames * info.channels)
            place += block.shape[1]
        self.second_energies = np.array(seconds)

    @property
    def peak(self) -> float:
        return float(np.maximum(self.high, -self.low).max(initial=0.0)) if self.info.frames else 0.0

    @property
    def range(self) -> float:
        """Half of the distance from the lowest to the highest sample of the channel where it is greatest."""
        return float((self.high - self.low).max() / 2) if self.info.frames else 0.0

    @property
    def stereo(self) -> bool:
        return self.info.channels == 2

    def mono(self, view: View, rate: int) -> list[Audio]:
        """The windows in a view, `[T]` at a rate."""
        found = [turned(window, view).mean(axis=0) for window in self.windows]
        if rate == self.info.sample_rate:
            return found
        return [np.asarray(soxr.resample(window, self.info.sample_rate, rate), np.float32) for window in found]


def examine(noisy: str, output: str, clean: str | None) -> Examined:
    """Look at an item's files; those that cannot be read are left to who measures them.

    Raises:
        AudioRestorerError: the mixture or the output cannot be read.
    """
    reference, unlike = _reference(clean, output) if clean is not None else (None, None)
    starts, size = _places(clean, reference) if clean is not None and reference is not None else ([], 0.0)
    mixture, made = Look(noisy, starts, size), Look(output, starts, size)
    silent = _silent(mixture, made)
    heard = mixture if "output" in silent else made
    found = Examined(view=heard.energies.view, silent=silent, unlike=unlike)
    if clean is not None and reference is not None:
        if (starts, size) != ([0], WHOLE_SEC):
            reference = Look(clean, starts, size)
        found = _compared(found, reference, [mixture, made])
    return replace(found, note=_note(found, reference))


def _reference(path: str, output: str) -> tuple[Look | None, str | None]:
    """A first look at the reference, or why it is none."""
    try:
        own, info = audio.probe(path), audio.probe(output)
        if abs(own.duration_sec - info.duration_sec) > LENGTH_TOLERANCE_SEC + LONGEST_DELAY_SEC:
            return None, wrong_length(path, own, info)
        look = Look(path, [0], WHOLE_SEC)
    except AudioRestorerError as error:
        return None, str(error)
    if look.peak <= CONSTANT_RANGE:
        return None, "the reference is silent"
    if look.range <= CONSTANT_RANGE:
        return None, "the reference is a constant: it holds no sound"
    return look, None


def wrong_length(path: str, own: audio.AudioInfo, output: audio.AudioInfo) -> str:
    return f"{path}: {own.duration_sec:.2f} s, the output has {output.duration_sec:.2f} s"


def _places(path: str, reference: Look) -> tuple[list[int], float]:
    """Where to compare: the whole, or of a long file windows of 10 s, in each sixth where the reference is loudest."""
    if reference.info.duration_sec <= WHOLE_SEC:
        return [0], WHOLE_SEC
    sums = np.convolve(reference.second_energies, np.ones(int(WINDOW_SEC)), mode="valid")
    parts = np.array_split(np.arange(len(sums)), WINDOWS)
    starts = [int(part[sums[part].argmax()]) for part in parts]
    loudest = max(sums[start] for start in starts)
    return [start for start in starts if sums[start] > FAINT * loudest], WINDOW_SEC


def _silent(mixture: Look, made: Look) -> dict[str, str]:
    silent = {}
    for name, what, look in (("noisy", "mixture", mixture), ("output", "output", made)):
        if look.range <= SILENT_PEAK:  # a constant is no sound either
            silent[name] = f"the {what} is silent"
    if "noisy" not in silent and made.power < mixture.power * 10 ** (-SILENT_BELOW_DB / 10):
        silent["output"] = f"the output is silent: more than {SILENT_BELOW_DB:g} dB below the mixture"
    return silent


def _compared(found: Examined, reference: Look, looks: Sequence[Look]) -> Examined:
    """With what the comparison of the reference with the mixture, or where that is hard to tell with the output, says."""
    info = looks[1].info
    found = replace(found, clean_view=reference.energies.view)
    if min(reference.info.duration_sec, info.duration_sec) < SHORTEST_SEC:
        return found
    rate = min(RATE_HZ, reference.info.sample_rate, *(look.info.sample_rate for look in looks))
    truth = reference.mono(found.clean_view, rate)
    best, view, pairs = NOTHING, found.view, list[tuple[Audio, Audio]]()
    for look in looks:
        if best.likeness < CERTAIN:
            own = _best(look, truth, rate)
            best, view, pairs = max((best, view, pairs), own, key=lambda one: one[0].likeness)
    unlike = _drift(pairs, rate)
    if unlike is None and not best.alike:
        unlike = (
            f"the reference is another recording, or more than {LONGEST_DELAY_SEC:g} s out of step:"
            f" its correlation with mixture and output is {best.likeness:.2f} at most, {best.needed:.2f} is the least"
        )
    if unlike is not None:
        return replace(found, unlike=unlike)
    longer = reference.info.duration_sec - info.duration_sec
    stands: View = found.clean_view if reference.stereo else "mid"
    return replace(
        found,
        view=view,
        turned=info.channels == 2 and stands != view,
        delay_sec=best.delay_sec if abs(best.delay_sec) > LEAST_DELAY_SEC else 0.0,
        overlap=abs(longer) > LENGTH_TOLERANCE_SEC,
    )


def _best(look: Look, truth: list[Audio], rate: int) -> tuple[Match, View, list[tuple[Audio, Audio]]]:
    """The better of a file's views: that of its energy, unless the other is clearly more like the reference."""
    likely = look.energies.view
    pairs = list(zip(look.mono(likely, rate), truth, strict=True))
    match = compare(pairs, rate, LONGEST_DELAY_SEC)
    if look.stereo:
        opposite: View = "mid" if likely == "side" else "side"
        others = list(zip(look.mono(opposite, rate), truth, strict=True))
        other = compare(others, rate, LONGEST_DELAY_SEC)
        if other.likeness > MARGIN * match.likeness:
            return other, opposite, others
    return match, likely, pairs


def _drift(pairs: list[tuple[Audio, Audio]], rate: int) -> str | None:
    """Whether windows of a long file have delays of their own."""
    if len(pairs) < 2:
        return None
    found = [compare([pair], rate, LONGEST_DELAY_SEC) for pair in pairs]
    delays = [match.delay_sec for match in found if match.likeness >= SURE]
    if len(delays) < 2 or max(delays) - min(delays) <= DRIFT_SEC:
        return None
    first, last = (1000 * delay for delay in (delays[0], delays[-1]))
    return f"the reference does not keep time with the recording: it is {first:.1f} ms late at one place, {last:.1f} ms at another"


def _note(found: Examined, reference: Look | None) -> str | None:
    if found.unlike is not None:
        return f"nothing was measured against the reference: {found.unlike}"
    parts = []
    if found.delay_sec:
        what = "late" if found.delay_sec > 0 else "early"
        parts.append(f"the reference is {delay_text(found.delay_sec)} {what}; it was aligned before measuring")
    elif found.overlap:
        parts.append("the reference has another length than the recording; what both hold was measured")
    if found.turned and reference is not None and reference.stereo:
        parts.append("one channel of the reference has the other polarity than the recording's; it was turned")
    return "; ".join(parts) or None


def delay_text(delay_sec: float) -> str:
    """`22.8 ms`; two digits more below a tenth of a millisecond."""
    milliseconds = abs(delay_sec) * 1000
    return f"{milliseconds:.1f} ms" if milliseconds >= 0.1 else f"{milliseconds:.3f} ms"
