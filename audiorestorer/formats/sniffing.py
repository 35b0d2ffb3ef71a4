"""The kind of a file by its first bytes, whatever its name says. Marks only: nothing is decoded."""

from __future__ import annotations

import re

HEAD_BYTES = 4096  # how many first bytes `real_format` wants
READ_HERE = ("WAV", "RF64", "BW64", "W64", "AIFF", "FLAC", "Ogg", "CAF", "AU")  # kinds that the decoder is asked about
CLAIMS = ("WAV", "FLAC", "OGG", "MP3", "OPUS", "AIFF", "AIF", "CAF", "W64", "RF64", "BWF", "AU", "OGA")  # by a suffix
CONVERT = "convert it, for example: ffmpeg -i INPUT OUTPUT.flac"
W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"

SOUND_MARKS = (  # (place, mark, name): recordings that the decoder has no part for
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "WMA (ASF)"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "True Audio (TTA)"),
    (0, b"TTA2", "True Audio (TTA)"),
    (0, b"DSD ", "DSD (DSF)"),
    (0, b"FRM8", "DSD (DSDIFF)"),
    (0, b"#!AMR", "AMR"),
    (0, b"#!SILK", "SILK"),
    (1, b"#!SILK", "SILK"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"OFR ", "OptimFROG"),
    (0, b".ra\xfd", "RealAudio"),
    (0, b".RMF", "RealMedia"),
    (0, b"ADIF", "AAC (ADIF)"),
    (0, b"\x0bw", "AC-3"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
    (0, b"FLV\x01", "Flash video"),
    (0, b"\0\0\x01\xba", "MPEG video"),
)
OTHER_MARKS = (  # what is no recording at all
    (0, b"MThd", "MIDI (notes, no sound)"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself: fetch it with git lfs pull"),
    (0, b"\0\x05\x16\x07", "an AppleDouble file of macOS (._ file), which holds no sound"),
    (0, b"\0\x05\x16\0", "an AppleSingle file of macOS"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive: unpack it"),
    (0, b"PK\x05\x06", "a ZIP archive: unpack it"),
    (0, b"Rar!\x1a\x07", "a RAR archive: unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (0, b"\x1f\x8b\x08", "a gzip archive: unpack it"),
    (0, b"\xfd7zXZ\0", "an xz archive: unpack it"),
    (0, b"BZh", "a bzip2 archive: unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive: unpack it"),
    (257, b"ustar", "a tar archive: unpack it"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"\x7fELF", "a program (ELF)"),
    (0, b"SQLite format 3", "an SQLite database"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an old office program"),
)
OGG_CODECS = (
    (b"OpusHead", "Opus"), (b"\x01vorbis", "Vorbis"), (b"Speex   ", "Speex"), (b"\x7fFLAC", "FLAC"), (b"\x80theora", "Theora (video)"),
    (b"fishead", "Skeleton"), (b"CELT    ", "CELT"), (b"\x80kate", "Kate"),
)  # fmt: skip
RIFF_KINDS = {b"WAVE": "WAV", b"AVI ": "AVI video", b"WEBP": "a WebP picture", b"RMID": "MIDI (notes, no sound)"}
WAV_CODECS = {
    0x0050: "MPEG layer I or II", 0x0055: "MP3", 0x00FF: "AAC", 0x0160: "WMA", 0x0161: "WMA", 0x0162: "WMA", 0x0163: "WMA",
    0x0270: "ATRAC3", 0x1600: "AAC", 0x1602: "AAC", 0x1610: "AAC", 0x2000: "AC-3", 0x2001: "DTS", 0x674F: "Vorbis", 0x6750: "Vorbis",
    0x706D: "AAC", 0xA106: "AAC", 0xF1AC: "FLAC",
}  # fmt: skip
PAGE = re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)


def real_format(first_bytes: bytes) -> str | None:
    """The format that a file's first bytes (`HEAD_BYTES` of them, or the whole file) are the mark of, as a name for people.

    None: no known mark. MPEG audio is None too: its frames have no mark that other data could not hold, so they are walked
    (`headers`). What `READ_HERE` names, alone or before a space, is a container that the decoder may be asked about.
    """
    head = first_bytes
    if not head:
        return "an empty file (0 bytes)"
    return _container(head) or _marked(head, SOUND_MARKS) or _aac(head) or _other(head)


def read_here(name: str, head: bytes) -> bool:
    """Whether libsndfile reads a container of several codecs: Ogg Vorbis and Opus in mono and stereo, whose channels need no order."""
    places = {"Ogg Opus": (b"OpusHead", 9), "Ogg Vorbis": (b"\x01vorbis", 11)}
    if name not in places:
        return name == "Ogg"
    mark, behind = places[name]
    at = head.find(mark) + behind
    return at < len(head) and head[at] <= 2


def no_recording(name: str) -> bool:
    """Whether a name of `real_format` is that of something which holds no sound to convert."""
    return name[:1].islower() or name.startswith("MIDI")


def refusal(name: str, suffix: str) -> str:
    """The reason for a file of this real format under this suffix."""
    shown = named(name, suffix)
    return f"not readable as audio: {shown}" if no_recording(name) else f"{shown}: {CONVERT}"


def named(name: str, suffix: str) -> str:
    """A real format, with what the suffix claims where that is something else."""
    claimed = suffix.lstrip(".").upper()
    unlike = f", not {claimed}" if claimed in CLAIMS and claimed not in name.upper() else ""
    return name.replace(":", unlike + ":", 1) if ":" in name else name + unlike


def _marked(head: bytes, marks: tuple[tuple[int, bytes, str], ...]) -> str | None:
    return next((name for place, mark, name in marks if head[place : place + len(mark)] == mark), None)


def _container(head: bytes) -> str | None:
    """Containers whose name hangs on more than the first mark."""
    if head[:4] in (b"RIFF", b"RIFX"):
        return RIFF_KINDS.get(head[8:12], "a RIFF file without sound") if len(head) >= 12 else None
    if head[:4] in (b"RF64", b"BW64"):
        return head[:4].decode()
    if head[:16] == W64_RIFF:
        return "W64"
    if head[:4] == b"FORM":
        return "AIFF" if head[8:12] in (b"AIFF", b"AIFC") else None
    if head[:4] == b"fLaC":
        return "FLAC"
    if head[:4] == b"caff":
        return "CAF"
    if head[:4] in (b".snd", b"dns."):
        return "AU"
    if head[:4] == b"OggS":
        codec = next((name for mark, name in OGG_CODECS if mark in head[:512]), None)
        return f"Ogg {codec}" if codec else "Ogg"
    return _mp4(head)


def _mp4(head: bytes) -> str | None:
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip") and int.from_bytes(head[:4], "big") < 1 << 31:
        return "QuickTime or MP4"
    if head[4:8] != b"ftyp":
        return None
    brand = head[8:12]
    if brand in (b"M4A ", b"M4B ", b"M4P "):
        return "M4A (AAC or ALAC in MP4)"
    if brand[:2] == b"3g":
        return "3GP (AMR or AAC)"
    if brand == b"qt  ":
        return "QuickTime"
    if brand in (b"avif", b"heic", b"mif1", b"heix"):
        return "a HEIF picture"
    return "MP4 (AAC)"


def _aac(head: bytes) -> str | None:
    """AAC in ADTS or LATM frames, by the marks of two frames in a row where the bytes reach that far; MPEG transport streams."""
    if len(head) >= 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        following = head[size : size + 2]
        if size >= 7 and (len(following) < 2 or (following[0] == 0xFF and following[1] & 0xF6 == 0xF0)):
            return "AAC (ADTS)"
    if len(head) >= 3 and head[0] == 0x56 and head[1] & 0xE0 == 0xE0:
        size = 3 + ((head[1] & 0x1F) << 8 | head[2])
        if head[size : size + 1] in (b"", b"\x56"):
            return "AAC (LATM)"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "MPEG transport stream"
    return None


def _other(head: bytes) -> str | None:
    if kind := _marked(head, OTHER_MARKS):
        return kind
    if not head.strip(b"\0"):
        return "zeros where its header should be: an interrupted download, or a recording that was never closed"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if PAGE.match(start[:64]) or (start.startswith(b"<") and PAGE.search(head[:1024])):
        return "a web page (HTML), perhaps an error page of a download"
    if start.startswith((b"<?xml", b"<Error", b"<svg")):
        return "XML text"
    text = _text(head)
    if text and start[:1] in (b"{", b"["):
        return "JSON text"
    return "text" if text else None


def _text(head: bytes) -> bool:
    """Whether all bytes are those of a plain text without control characters: UTF-8 (its end may be cut), or UTF-16 with its mark."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") and len(head) >= 4:
        try:
            text = head[: len(head) & ~1].decode("utf-16")
        except UnicodeDecodeError:
            return False
        return sum(char.isprintable() or char.isspace() for char in text) == len(text)
    if any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return False
    try:
        head[:-3].decode("utf-8") if len(head) == HEAD_BYTES else head.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(head) == HEAD_BYTES and error.start >= len(head) - 7
    return True


def wav_codec(tag: int) -> str:
    """The common name of the codec of a `fmt ` chunk's tag."""
    return f"{WAV_CODECS[tag]} (code 0x{tag:04X})" if tag in WAV_CODECS else f"code 0x{tag:04X}"
