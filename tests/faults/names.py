"""Hostile names of files and folders, each a path below the input folder, as bytes where it is no text."""

from __future__ import annotations

import os

LONG = "n" * 251

HOSTILE_FILES = [
    "a b.wav", " leading.wav", "trailing .wav", "tab\there.wav", "new\nline.wav", "carriage\rreturn.wav", "quote'.wav",
    'double".wav', "back\\slash.wav", "$(touch pwned).wav", "`touch pwned`.wav", "${HOME}.wav", ";touch pwned.wav",
    "&&touch pwned.wav", "|tee pwned.wav", ">pwned.wav", "-rf.wav", "--help.wav", "--config=x.wav", "~root.wav", "*.wav",
    "[a-z].wav", "?.wav", "#hash.wav", "!bang.wav", "{shard}.wav", "{input}.wav", "{{x}}.wav", "{wildcards.x}.wav",
    "%s%n%d.wav", "\\n.wav", "\x1b[31mred\x07.wav", "\x7f.wav", "=1+1.wav", "=cmd|' /C calc'!A0.wav", "+1+1.wav",
    "-1+1.wav", "@SUM(A1).wav", "'=1.wav", "=1,2;3.wav", "<b>bold<!--.wav", "\"><img src=x onerror=alert(1)>.wav",
    "' onmouseover='alert(1).wav", "&lt;&amp;.wav", "javascript:alert(1).wav", "]]>.wav", "\u2028line.wav", "caf\u00e9.wav",
    "cafe\u0301.wav", "Case.wav", "case.wav", "CASE.WAV", "stra\u00dfe.wav", "strasse.wav", "\u202egnp.wav",
    "\u2066x\u2069.wav", "\ufeffbom.wav", "zero\u200bwidth.wav", "\u0430dmin.wav", "admin.wav", "a..wav", "x.wav.wav",
    "x.tar.wav", "con.wav", "nul.wav", "id|name.wav", "id,name.wav", "x_y.wav", "x/y.wav", "same.wav", "deep/same.wav",
    "\U0001f600.wav", f"{LONG}.wav", "\u00e9" * 125 + ".wav", "\u97f3" * 83 + ".wav", "nan.wav", "null.wav", "1e5.wav",
    "007.wav", "$(touch pwned)/\"'/in\nside.wav", "-x/--y.wav", "{a}/{b}.wav", "<script>alert(1)<", "a<",
    "dots .. dots/x.wav", "space /x.wav", "CON/x.wav",
]  # fmt: skip
HOSTILE_FILES = [name if name.endswith((".wav", ".WAV")) else f"{name}/script>.wav" for name in HOSTILE_FILES]
OTHER_FORMATS = [f"{LONG}.oga", f"{LONG}.mpa", "same.mpa", "same.oga"]  # their outputs are .flac, a letter longer
NOT_TEXT = [os.fsdecode(name) for name in (b"bad\xff.wav", b"\xc3\x28.wav", b"\xed\xa0\x80.wav", b"folder\xfe/x.wav")]
HOSTILE_FOLDERS = [
    "a b'\"$(touch pwned)",
    "`touch pwned`;&|>",
    "new\nline",
    "-rf",
    "{shard}",
    "caf\u00e9\u202e",
    "=1+1",
    "*?[a]#!~",
]
