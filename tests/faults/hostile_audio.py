"""Hostile audio files: each a deterministic case with what must become of it. `cases()` is the whole list, `write` makes one.

A case either has a truth (rate, channels, frames), which the output must have, or must be rejected, or may be either: then the output
must agree with what the file says of itself and be finite.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.faults import containers as c

Truth = tuple[int, int, int]  # rate, channels, frames
Make = Callable[[Path], None]
VOICE: Truth = (c.RATE, 1, c.FRAMES)
OPUS_RATE = 48_000  # Hz, of every Opus stream (RFC 7845, 5.1)


@dataclass(frozen=True)
class Case:
    """`name` is the file's path below the input folder; `expect` is `ok`, `rejected` or `either`."""

    name: str
    group: str
    make: Make
    expect: str = "either"
    truth: Truth | None = None

    def write(self, root: Path) -> bool:
        """Make the file; False where this machine does not allow it (device nodes need root)."""
        path = root / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):
            self.make(path)
            return True
        return False


def content(data: bytes) -> Make:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def lazily(function: Callable[[], bytes]) -> Make:
    return lambda path: content(function())(path)


@functools.cache
def base(format: str) -> bytes:
    """A good file of each format."""
    if format == "wav":
        return c.wav(c.pcm16(c.voice()))
    return c.encoded(c.voice(), c.RATE, format.upper())


def cases() -> list[Case]:
    """All cases; names differ."""
    makers = (good, levels, layouts, adpcm, wav_fields, riff_structure, large_claims, flac_cases, ogg_cases, mp3_cases, cut_short,
              suffixes, no_regular_files, long_silence)  # fmt: skip
    found = [case for maker in makers for case in maker()]
    assert len({case.name for case in found}) == len(found)
    return found


def good() -> Iterator[Case]:
    """Files that nothing is wrong with, in every sample format."""
    x = c.voice()
    for format, subtypes in {
        "wav": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "GSM610"),
        "flac": ("PCM_S8", "PCM_16", "PCM_24"), "ogg": ("VORBIS", "OPUS"), "mp3": ("MPEG_LAYER_III",),
        "rf64": ("PCM_16", "PCM_24"), "wavex": ("PCM_16", "FLOAT"), "w64": ("PCM_16",), "aiff": ("PCM_24",), "caf": ("FLOAT",),
    }.items():  # fmt: skip
        suffix = format if format in ("wav", "flac", "ogg", "mp3") else "wav"
        for subtype in subtypes:
            data = functools.partial(c.encoded, x, c.RATE, format.upper(), subtype)
            truth = None if subtype in ("VORBIS", "MPEG_LAYER_III", "GSM610") else VOICE
            if subtype == "OPUS":  # it comes back as Opus, whose rate is always 48 kHz
                truth = (OPUS_RATE, 1, len(x) * OPUS_RATE // c.RATE)
            yield Case(f"good_{format}_{subtype}.{suffix}", "good", lazily(data), "ok", truth)


def levels() -> Iterator[Case]:
    """Signals at the edges: silence, one sample, DC, full scale, what is no number, denormals, far beyond full scale."""
    n, x = c.FRAMES, c.voice()
    square = np.where(np.arange(n) // 40 % 2, 1.0, -1.0)
    nan, inf, minus = x.copy(), x.copy(), x.copy()
    nan[77], inf[4000], minus[-1] = np.nan, np.inf, -np.inf
    impulse = np.zeros(n)
    impulse[n // 2] = 1.0
    table: dict[str, tuple[np.ndarray, str]] = {
        "silence": (np.zeros(n), "rejected"), "no_samples": (np.zeros(0), "rejected"), "one_sample": (x[500:501], "rejected"),
        "99_ms": (x[: int(0.099 * c.RATE)], "rejected"), "100_ms": (x[: c.RATE // 10], "ok"), "dc": (np.full(n, 0.5), "ok"),
        "dc_full_scale": (np.ones(n), "ok"), "dc_minus": (-np.ones(n), "ok"), "voice_on_dc": (x + 0.5, "ok"),
        "square_full_scale": (square, "ok"), "square_nyquist": (np.where(np.arange(n) % 2, 1.0, -1.0), "ok"),
        "impulse": (impulse, "ok"), "white_full_scale": (np.random.default_rng(1).uniform(-1, 1, n), "ok"),
        "nan": (nan, "rejected"), "all_nan": (np.full(n, np.nan), "rejected"), "inf": (inf, "rejected"),
        "minus_inf": (minus, "rejected"),
        "denormal": (np.full(n, 1e-40), "rejected"), "quiet": (x * 5e-4, "ok"), "below_silence": (x * 1e-5, "rejected"),
        "plus_40_db": (x * 100, "ok"), "int16_scale_in_float": (x * 32768, "ok"), "int32_scale_in_float": (x * 2.0**31, "ok"),
        "float_max": (np.sign(x) * 3.4e38, "rejected"), "one_wild_sample": (x + 1e30 * (np.arange(n) == 9), "rejected"),
        "silence_then_voice": (np.concatenate([np.zeros(n), x]), "ok"),
        "voice_then_silence": (np.concatenate([x, np.zeros(n)]), "ok"),
    }  # fmt: skip
    for name, (signal, expect) in table.items():
        for subtype in ("FLOAT", "DOUBLE") if name in ("nan", "inf", "denormal", "float_max") else ("FLOAT",):
            data = functools.partial(c.encoded, signal, c.RATE, "WAV", subtype)
            truth = (c.RATE, 1, len(signal)) if expect == "ok" else None
            yield Case(f"level_{name}_{subtype}.wav", "levels", lazily(data), expect, truth)
    double = functools.partial(c.encoded, np.full(n, 1e300), c.RATE, "WAV", "DOUBLE")
    yield Case("level_double_beyond_float.wav", "levels", lazily(double), "rejected")
    for name, signal in {"square_full_scale": square, "silence": np.zeros(n), "minus_full_scale": -np.ones(n)}.items():
        data = functools.partial(c.encoded, signal, c.RATE, "FLAC", "PCM_24")
        expect = "rejected" if name == "silence" else "ok"
        yield Case(f"level_{name}.flac", "levels", lazily(data), expect, VOICE if expect == "ok" else None)
    one_sided = np.stack([x, np.zeros(n)], 1)
    for name, signal in {"one_channel_silent": one_sided, "opposite_phase": np.stack([x, -x], 1)}.items():
        data = functools.partial(c.encoded, signal, c.RATE, "WAV", "FLOAT")
        yield Case(f"level_{name}.wav", "levels", lazily(data), "ok", (c.RATE, 2, n))


def layouts() -> Iterator[Case]:
    """Rates from 1 Hz to 768 kHz and 1 to 64 channels."""
    for rate in (
        1,
        100,
        3_999,
        4_000,
        8_000,
        11_025,
        22_050,
        44_100,
        48_000,
        88_200,
        96_000,
        192_000,
        384_000,
        384_001,
        768_000,
    ):
        x = c.voice(0.4, rate) if rate > 100 else np.full(64, 0.1)
        inside = 4_000 <= rate <= 384_000
        truth = (rate, 1, len(x)) if inside else None
        yield Case(
            f"rate_{rate}.wav", "layouts", content(c.wav(c.pcm16(x), rate=rate)), "ok" if inside else "rejected", truth
        )
    for rate in (4_294_967_295, 2_147_483_648):
        yield Case(f"rate_{rate}.wav", "layouts", content(c.wav(c.pcm16(c.voice()), rate=rate)), "rejected")
    x = c.pcm16(c.voice())
    for channels in (2, 3, 6, 8, 24, 64, 255, 1024, 1025, 32_768, 65_535):
        data = b"".join(x[k : k + 2] * channels for k in range(0, 200 if channels > 64 else len(x), 2))
        expect = "ok" if channels <= 8 else "rejected"
        truth = (c.RATE, channels, c.FRAMES) if channels <= 8 else None
        yield Case(f"channels_{channels}.wav", "layouts", content(c.wav(data, channels=channels)), expect, truth)
    for bits in (1, 4, 8, 12, 20, 24, 32, 40, 48, 64):
        yield Case(f"bits_{bits}.wav", "layouts", content(c.wav(bytes(range(1, 250)) * 96, bits=bits)))


def adpcm() -> Iterator[Case]:
    """Compressed WAVs, well made and not."""
    x = c.voice()
    for subtype in ("IMA_ADPCM", "MS_ADPCM", "G721_32", "NMS_ADPCM_16", "MPEG_LAYER_III"):
        with contextlib.suppress(Exception):
            data = c.encoded(x, c.RATE, "WAV", subtype)
            yield Case(f"adpcm_{subtype}.wav", "adpcm", content(data), "either")
            if subtype in ("IMA_ADPCM", "MS_ADPCM"):
                for align in (0, 1, 4, 7, 65_535):
                    yield Case(f"adpcm_{subtype}_align_{align}.wav", "adpcm", content(c.patched(data, 32, 2, align)))
                for count in (0, 1, 65_535):
                    yield Case(f"adpcm_{subtype}_block_{count}.wav", "adpcm", content(c.patched(data, 38, 2, count)))
                yield Case(f"adpcm_{subtype}_cut.wav", "adpcm", content(data[: len(data) // 2]), "rejected")
    for tag in (0x0, 0x2, 0x11, 0x31, 0x50, 0x55, 0x160, 0x161, 0x2000, 0xFFFE, 0xFFFF):
        yield Case(f"adpcm_tag_{tag:04x}.wav", "adpcm", content(c.wav(c.pcm16(x), tag=tag)))


def wav_fields() -> Iterator[Case]:
    """Every field of a plain WAV header, at its edges."""
    for name, (offset, size) in c.WAV_FIELDS.items():
        for value in sorted({0, 1, (1 << 8 * size - 1) - 1, 1 << 8 * size - 1, (1 << 8 * size) - 1}):
            yield Case(f"wav_{name}_{value:x}.wav", "wav header", content(c.patched(base("wav"), offset, size, value)))


def riff_structure() -> Iterator[Case]:
    """Chunks that are missing, doubled, nested, of lying size, or many."""
    data, fmt = c.chunk(b"data", c.pcm16(c.voice())), c.fmt()
    ext = struct.pack("<HHI", 22, 16, 4)
    table: dict[str, tuple[bytes, str, Truth | None]] = {
        "no_fmt": (c.riff(data), "rejected", None), "no_data": (c.riff(fmt), "rejected", None), "nothing": (c.riff(),
        "rejected", None),
        "data_first": (c.riff(data, fmt), "either", None), "two_fmt": (c.riff(fmt, c.fmt(rate=8000), data), "either", None),
        "two_data": (c.riff(fmt, data, data), "either", None), "odd_chunk": (c.riff(fmt, c.chunk(b"junk", b"abc"), data),
        "ok", VOICE),
        "junk_first": (c.riff(c.chunk(b"JUNK", bytes(4096)), fmt, data), "ok", VOICE),
        "lying_list": (c.riff(fmt, c.chunk(b"LIST", b"INFO", 0xFFFFFFFF), data), "either", None),
        "lying_junk": (c.riff(fmt, c.chunk(b"junk", b"", 0x7FFFFFFF), data), "either", None),
        "10000_chunks": (c.riff(fmt, *[c.chunk(b"junk", b"")] * 10_000, data), "either", None),
        "big_bext": (c.riff(fmt, c.chunk(b"bext", bytes(900_000)), data), "either", None),
        "lying_cue": (c.riff(fmt, c.chunk(b"cue ", struct.pack("<I", 0xFFFFFFFF)), data), "either", None),
        "lying_smpl": (c.riff(fmt, c.chunk(b"smpl", struct.pack("<9I", *[0xFFFFFFFF] * 9)), data), "either", None),
        "long_title": (c.riff(fmt, c.chunk(b"LIST", b"INFO" + c.chunk(b"INAM", b"A" * 200_000)), data), "either", None),
        "peak_nan": (c.riff(c.fmt(3, bits=32), c.chunk(b"PEAK", struct.pack("<IIfI", 1, 0, float("nan"), 0)),
                            c.chunk(b"data", c.voice().astype("<f4").tobytes())), "ok", VOICE),
        "never_closed": (c.riff(fmt, c.chunk(b"data", c.pcm16(c.voice()), 0), size=4088), "ok", VOICE),
        "never_closed_empty": (c.riff(fmt, c.chunk(b"data", b""), c.chunk(b"LIST", b"INFO")), "rejected", None),
        "odd_data": (c.riff(fmt, c.chunk(b"data", c.pcm16(c.voice())[:-1])), "either", None),
        "extensible": (c.riff(c.fmt(0xFFFE, more=ext + bytes.fromhex("0100000000001000800000aa00389b71")), data), "ok", VOICE),
        "extensible_bad_guid": (c.riff(c.fmt(0xFFFE, more=ext + b"\xff" * 16), data), "either", None),
        "extensible_cut": (c.riff(c.fmt(0xFFFE, more=ext), data), "either", None),
        "big_endian": (c.riff(fmt, data, form=b"RIFX"), "either", None),
        "data_ffffffff": (c.riff(fmt, c.chunk(b"data", c.pcm16(c.voice()), 0xFFFFFFFF)), "ok", VOICE),  # what ffmpeg writes to a pipe
        "trailing_garbage": (c.riff(fmt, data) + bytes(range(256)) * 64, "ok", VOICE),
        "id3_before": (c.id3(bytes(1000)) + c.riff(fmt, data), "either", None),
        "id3_inside": (c.riff(fmt, c.chunk(b"id3 ", c.id3(bytes(1000), 0xFFFFFFF)), data), "either", None),
    }  # fmt: skip
    for name, (whole, expect, truth) in table.items():
        yield Case(f"riff_{name}.wav", "wav structure", content(whole), expect, truth)


def large_claims() -> Iterator[Case]:
    """Headers that claim more than 4 GB."""
    x = c.pcm16(c.voice())
    yield Case("rf64_true.wav", "large claims", content(c.rf64(x, data_size=len(x), samples=c.FRAMES)), "ok", VOICE)
    for size in (1 << 32, 5_000_000_000, 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
        for name, samples in (("", size // 2), ("_no_samples", 0)):
            data = c.rf64(x, data_size=size, samples=samples, riff_size=min(size + 72, (1 << 64) - 1))
            yield Case(f"rf64_{size}{name}.wav", "large claims", content(data), "rejected")
    yield Case("rf64_zero.wav", "large claims", content(c.rf64(x, data_size=0, samples=0)))
    w64 = c.encoded(c.voice(), c.RATE, "W64", "PCM_16")
    for offset in (16, 96):
        yield Case(f"w64_size_{offset}.wav", "large claims", content(c.patched(w64, offset, 8, 1 << 50)))


def flac_cases() -> Iterator[Case]:
    """Every field of STREAMINFO, and metadata blocks that lie."""
    good = base("flac")
    for name, (offset, count) in c.FLAC_FIELDS.items():
        for value in sorted({0, 1, (1 << count) // 2, (1 << count) - 1}):
            yield Case(
                f"flac_{name}_{format(value, 'x')[:9]}.flac",
                "flac header",
                content(c.with_bits(good, offset, count, value)),
            )
    assert not good[4] & 0x80, "more metadata follows libsndfile's STREAMINFO, and then the sound"
    blocks = {
        "many_comments": c.flac_block(4, struct.pack("<I", 0) + struct.pack("<I", 0xFFFFFFFF)),
        "long_vendor": c.flac_block(4, struct.pack("<I", 0xFFFFFFFF)),
        "picture": c.flac_block(6, struct.pack(">II", 3, 0xFFFFFFFF) + bytes(64)),
        "big_picture": c.flac_block(6, struct.pack(">III", 3, 0, 0) + bytes(16) + struct.pack(">I",
        0xFFFFF0) + bytes(0xFFFFF0 - 64)),
        "padding_bomb": c.flac_block(1, b"", 0xFFFFFF),
        "seektable": c.flac_block(3, b"\0" * 18 * 50 + b"\xff" * 18 * 50),
        "cuesheet": c.flac_block(5, b"\xff" * 396),
        "reserved": c.flac_block(126, b"x" * 100),
        "forbidden": c.flac_block(127, b"x" * 100),
        "1000_paddings": b"".join(c.flac_block(1, bytes(10)) for _ in range(1000)),
    }  # fmt: skip
    for name, block in blocks.items():
        yield Case(f"flac_{name}.flac", "flac metadata", content(good[:42] + block + good[42:]))
    yield Case("flac_id3_before.flac", "flac metadata", content(c.id3(bytes(2000)) + good))
    yield Case("flac_second_streaminfo.flac", "flac metadata", content(good + good))
    changed = bytearray(good)
    changed[len(good) // 2] ^= 0xFF
    yield Case("flac_bit_rot.flac", "flac metadata", content(bytes(changed)), "rejected")


def ogg_cases() -> Iterator[Case]:
    """Every field of the first page and of Vorbis' identification header; chains and lying granules."""
    good = base("ogg")
    for name, (offset, size) in c.OGG_PAGE_FIELDS.items():
        for value in sorted({0, 1, (1 << 8 * size) - 1}):
            yield Case(f"ogg_{name}_{value:x}.ogg", "ogg header", content(c.patched(good, offset, size, value)))
    for name, (offset, size) in c.VORBIS_FIELDS.items():
        for value in sorted({0, 1, 1 << 8 * size - 1, (1 << 8 * size) - 1}):
            data = c.with_page_crc(c.patched(good, offset, size, value))
            yield Case(f"vorbis_{name}_{value:x}.ogg", "ogg header", content(data))
    last = c.last_page(good)
    for granule in (0, 1, (1 << 62), (1 << 64) - 1):
        data = c.with_page_crc(c.patched(good, last + 6, 8, granule), last)
        yield Case(f"ogg_last_granule_{granule:x}.ogg", "ogg header", content(data))
    chain = functools.partial(c.encoded, c.voice(0.3, 8000), 8000, "OGG")
    yield Case("ogg_chain.ogg", "ogg header", lazily(lambda: good + chain()), "rejected")
    yield Case("ogg_no_last_page.ogg", "ogg header", content(good[:last]))
    yield Case("ogg_hole.ogg", "ogg header", content(good[: len(good) // 2] + good[len(good) // 2 + 200 :]))


def mp3_cases() -> Iterator[Case]:
    """Every field of the first frame header, what Xing's header claims, and ID3 bombs."""
    good = base("mp3")
    for name, (offset, count) in c.MP3_FIELDS.items():
        for value in range(1 << count) if count < 3 else (0, 1, (1 << count) - 2, (1 << count) - 1):
            yield Case(f"mp3_{name}_{value:x}.mp3", "mp3 header", content(c.with_bits(good, offset, count, value)))
    mark = max(good.find(b"Xing"), good.find(b"Info"))
    for field, offset in {"flags": 4, "frames": 8, "bytes": 12}.items() if mark >= 0 else ():
        for value in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF):
            data = good[: mark + offset] + struct.pack(">I", value) + good[mark + offset + 4 :]
            counts_nothing = field != "bytes" and value == 0  # the frames are counted then
            expect = "ok" if counts_nothing else "either"
            yield Case(f"mp3_xing_{field}_{value:x}.mp3", "mp3 header", content(data), expect)
    many = b"".join(c.id3_frame(b"TXXX", b"\0a\0b") for _ in range(20_000))
    bombs = {
        "claims_256_mb": c.id3(b"", 0xFFFFFFF), "frame_claims_4_gb": c.id3(c.id3_frame(b"APIC", bytes(100), 0xFFFFFFFF)),
        "20000_frames": c.id3(many), "1000_tags": c.id3(bytes(10)) * 1000,
        "compressed": c.id3(c.id3_frame(b"TIT2", b"\xff" * 500), flags=0xFF),
        "picture_8_mb": c.id3(c.id3_frame(b"APIC", b"\0image/png\0\3\0" + bytes(8 << 20))),
        "version_255": c.id3(bytes(100), version=255),
        "text_bomb": c.id3(c.id3_frame(b"TIT2", b"\x01\xff\xfe" + b"\xd8\xdc" * 100_000)),
        "unsynchronised": c.id3(b"\xff\x00" * 5000, flags=0x80), "footer_only": c.id3(b"", 10, flags=0x10),
    }  # fmt: skip
    for name, tag in bombs.items():
        yield Case(f"id3_{name}.mp3", "id3", content(tag + good))
    yield Case("id3_alone.mp3", "id3", content(c.id3(bytes(5000))), "rejected")
    yield Case("id3v1_tail.mp3", "id3", content(good + b"TAG" + b"\xff" * 125), "ok")
    yield Case("mp3_garbage_between.mp3", "mp3 header", content(good[:800] + b"\xff\xfb" * 3000 + good[800:]))
    yield Case(
        "mp3_other_rate_inside.mp3", "mp3 header", lazily(lambda: good + c.encoded(c.voice(0.5, 44_100), 44_100, "MP3"))
    )


def cut_short() -> Iterator[Case]:
    """Good files cut at many places, and their bytes turned at random."""
    for format in ("wav", "flac", "ogg", "mp3"):
        good = base(format)
        for size in (0, 1, 4, 12, 43, 44, 100, len(good) // 2, len(good) - 1):
            expect = "rejected" if size < 44 else "either"
            yield Case(f"cut_{format}_{size}.{format}", "cut short", content(good[:size]), expect)
        for seed in range(10):
            draw = np.random.default_rng(seed)
            changed = bytearray(good)
            for place in draw.integers(0, min(len(good), 4000 if seed % 2 else 200), 12):
                changed[int(place)] = int(draw.integers(256))
            yield Case(f"flipped_{format}_{seed}.{format}", "bytes changed", content(bytes(changed)))


def suffixes() -> Iterator[Case]:
    """Contents under the wrong suffix, and files that are no audio."""
    for format in ("wav", "flac", "ogg", "mp3"):
        for suffix in ("wav", "flac", "ogg", "mp3"):
            if suffix != format:
                yield Case(f"{format}_named.{suffix}", "wrong suffix", content(base(format)))
    zeros, noise = bytes(100_000), np.random.default_rng(5).bytes(100_000)
    texts = {"text": b"hello\n" * 100, "html": b"<!DOCTYPE html><html><body>404", "zip": b"PK\x03\x04" + zeros,
    "elf": b"\x7fELF" + zeros,
             "zeros": zeros, "noise": noise, "jpeg": b"\xff\xd8\xff\xe0" + noise,
             "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR."}  # fmt: skip
    for name, data in texts.items():
        for suffix in ("wav", "mp3"):
            yield Case(f"{name}_named.{suffix}", "no audio", content(data), "either" if suffix == "mp3" else "rejected")


def no_regular_files() -> Iterator[Case]:
    """What is no file, or lies elsewhere, under a recording's name."""

    def bound(path: Path) -> None:
        here = os.open(path.parent, os.O_RDONLY)  # a socket's address has 108 bytes at most
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)

    def node(kind: int, major: int, minor: int) -> Make:
        return lambda path: os.mknod(path, kind | 0o666, os.makedev(major, minor))

    def outside(path: Path) -> None:
        secret = path.parent.parent / f"{path.parent.name}_outside.wav"
        secret.write_bytes(base("wav"))
        path.symlink_to(secret)

    def inside(path: Path) -> None:
        (path.parent / "target.dat").write_bytes(base("wav"))
        path.symlink_to("target.dat")

    def folder_link(path: Path) -> None:
        (path.parent / "a folder").mkdir()
        path.symlink_to("a folder")

    def unreadable(path: Path) -> None:
        path.write_bytes(base("wav"))
        path.chmod(0)

    def linked(target: str) -> Make:
        return lambda path: path.symlink_to(target)

    group = "no regular file"
    yield Case("fifo.wav", group, lambda path: os.mkfifo(path), "rejected")
    yield Case("socket.wav", group, bound, "rejected")
    yield Case("char_zero.wav", group, node(stat.S_IFCHR, 1, 5), "rejected")
    yield Case("char_random.flac", group, node(stat.S_IFCHR, 1, 8), "rejected")
    yield Case("block.wav", group, node(stat.S_IFBLK, 7, 250), "rejected")
    yield Case("link_to_itself.wav", group, linked("link_to_itself.wav"), "rejected")
    yield Case("link_to_nothing.wav", group, linked("nowhere.wav"), "rejected")
    yield Case("link_out.wav", group, outside, "rejected")
    yield Case("link_etc_passwd.wav", group, linked("/etc/passwd"), "rejected")
    yield Case("link_dev_zero.wav", group, linked("/dev/zero"), "rejected")
    yield Case("link_proc.wav", group, linked("/proc/self/mem"), "rejected")
    yield Case("link_to_folder.wav", group, folder_link, "rejected")
    yield Case("link_to_parent.wav", group, linked(".."), "rejected")
    yield Case("link_inside.wav", group, inside, "ok", VOICE)
    yield Case("folder.wav/inner.wav", group, content(base("wav")), "ok", VOICE)
    yield Case("no_permission.wav", group, unreadable, "either")


def long_silence() -> Iterator[Case]:
    """Ten hours: as compact FLAC, and as WAV with a hole."""

    def sparse(path: Path) -> None:
        size = 36_000 * 8_000 * 2
        path.write_bytes(c.wav(b"", rate=8_000, riff_size=size + 36, data_size=size))
        os.truncate(path, 44 + size)

    ten_hours = functools.partial(c.flac_silence, 36_000.0)
    yield Case("ten_hours.flac", "ten hours", lazily(ten_hours), "rejected")
    yield Case("ten_hours.wav", "ten hours", sparse, "rejected")
    yield Case("ten_hours_cut.flac", "ten hours", lazily(lambda: ten_hours()[:20_000]), "rejected")
