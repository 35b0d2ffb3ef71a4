"""Music under speech without a reference. With one: `signal.MusicToSpeech`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from audiorestorer.metrics import Missing

FRAME_SEC = 0.032
PAUSE_PERCENTILE = 5.0
ACTIVE_DB = -20.0
SILENCE_POWER = 1e-10
MIN_FRAMES = 30
RANGE_DB = 60.0


def blind_music_to_speech(frame_power: NDArray[np.float64]) -> float:
    """A blind estimate of the music-to-speech ratio in dB, within +-60.

    What sounds in the speaker's pauses (5th percentile of the power of 32 ms frames) is taken for music of constant level; speech is
    the mean power of the frames within 20 dB of the loudest, less that. It falls with the true ratio from +10 to -30 dB (within 0.5 dB
    a 5 dB step: docs/quality.md), but reads 4 to 9 dB low, since music is not of constant level, and hardly moves where the music is
    louder than the speech. Limits: it is blind to music that pauses with the speaker, takes any steady noise for music, and reads too
    high for speech without pauses. Use it to compare a file with itself.

    Args:
        frame_power: mean square of each frame, over all channels.

    Raises:
        Missing: shorter than about a second, or silent.
    """
    if len(frame_power) < MIN_FRAMES:
        raise Missing(f"shorter than {MIN_FRAMES * FRAME_SEC:.1f} s")
    if frame_power.max() < SILENCE_POWER:
        raise Missing("silent")
    pause = float(np.percentile(frame_power, PAUSE_PERCENTILE))
    active = float(frame_power[frame_power > frame_power.max() * 10 ** (ACTIVE_DB / 10)].mean())
    ratio = pause / max(active - pause, active * 1e-6)
    return float(np.clip(10 * math.log10(max(ratio, 1e-12)), -RANGE_DB, RANGE_DB))
