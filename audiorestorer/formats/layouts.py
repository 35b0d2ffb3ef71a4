"""Where the channels of a recording stand, by their number, in the order of WAV, FLAC and FFmpeg: L R C LFE, then those behind.

3 channels are 3.0, 4 quadraphonic, 5 5.0, 6 5.1, 7 6.1, 8 7.1.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

MOST = 8
NAMES = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
CENTRE = {3: 2, 5: 2, 6: 2, 7: 2, 8: 2}
LOW = {6: 3, 7: 3, 8: 3}  # the low-frequency effects
# libsndfile's numbers of positions (SF_CHANNEL_MAP_*): left 2, right 3, centre 4, rear centre 7, rear left 8, rear right 9,
# LFE 10, side left 13, side right 14
MAPS = {
    3: (2, 3, 4), 4: (2, 3, 8, 9), 5: (2, 3, 4, 8, 9), 6: (2, 3, 4, 10, 8, 9), 7: (2, 3, 4, 10, 7, 13, 14),
    8: (2, 3, 4, 10, 8, 9, 13, 14),
}  # fmt: skip
Mode: TypeAlias = Literal["dialogue", "all"]


def restored(channels: int, mode: Mode) -> list[int]:
    """The channels that are restored, the others stay as they are: of a layout with a centre that one alone (`dialogue`), or all but
    the low effects."""
    if mode == "dialogue" and channels in CENTRE:
        return [CENTRE[channels]]
    return [number for number in range(channels) if number != LOW.get(channels)]


def pairs(channels: int) -> list[list[int]]:
    """Channels that a stereo network takes together: left and right, the centre alone, then two by two."""
    if channels <= 2 or channels == 4:
        return [list(range(begin, min(begin + 2, channels))) for begin in range(0, channels, 2)]
    return [[0, 1], [2], *([number, number + 1][: channels - number] for number in range(3, channels, 2))]
