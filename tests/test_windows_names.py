"""Names in deliveries: whatever the input's are called, Windows can unpack them, and nothing is lost or merged."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiorestorer.names import folded
from audiorestorer.windows_names import mapped, units

HOSTILE = {
    "what? (12:30).wav": "what_ (12_30).wav",
    "a|b.wav": "a_b.wav",
    "CON.wav": "CON_.wav",
    "nul.tar.wav": "nul_.tar.wav",
    "aux/x.wav": "aux_/x.wav",
    "com1 .wav": "com1_ .wav",
    "LPT¹.wav": "LPT¹_.wav",
    "tab\there.wav": "tab_here.wav",
    "new\nline.wav": "new_line.wav",
    "back\\slash.wav": "back_slash.wav",
    "take 1. /one.wav": "take 1__/one.wav",
    "quote'\".wav": "quote'_.wav",
    "ends with a dot.": "ends with a dot_",
}
FINE = [
    "dots...wav",
    "foo .wav",
    "x.y.z.wav",
    "emoji 🎙️.wav",
    "100%.wav",
    "#1.wav",
    "$(touch x).wav",
    "é" * 200 + ".wav",
    "CONsole.wav",
]
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{name}{n}" for name in ("COM", "LPT") for n in "123456789")}


def unfit(path: str) -> str | None:
    """Why Windows cannot hold a path below `cleaned/`; by its documentation, not by the code under test."""
    if len(f"cleaned/{path}".encode("utf-16-le")) // 2 > 240:
        return "path too long"
    for part in path.split("/"):
        if len(part.encode("utf-16-le")) // 2 > 255 or not part:
            return f"{part!r}: length"
        if re.search(r'[<>:"|?*\\\x00-\x1f]', part) or part[-1] in " .":
            return f"{part!r}: character"
        if part.partition(".")[0].rstrip(" ").upper() in DEVICES:
            return f"{part!r}: device"
    return None


def test_hostile_names_are_changed_and_no_others():
    found = mapped([*HOSTILE, *FINE], below="cleaned")
    assert found == {**HOSTILE, **{name: name for name in FINE}}
    assert not any(unfit(name) for name in found.values())


@pytest.mark.parametrize(
    "names",
    [
        ["A.wav", "a.wav"], ["Sub/x.wav", "sub/y.wav"], ["a|b.wav", "a_b.wav", "a:b.wav"], ["x", "X/y.wav"],
        ["é.wav", "e\u0301.wav"], ["take 1./a.wav", "take 1_/a.wav"], ["a~1.wav", "A~1.wav", "a?1.wav"],
    ],
)  # fmt: skip
def test_no_two_become_one_and_the_plain_name_stays(names: list[str]):
    found = mapped(names)
    assert len({folded(name) for name in found.values()}) == len(names)
    tops = {old.split("/")[0]: new.split("/")[0] for old, new in found.items()}
    assert len({folded(top) for top in tops.values()}) == len(tops)
    assert any(old == new for old, new in found.items())


def test_a_long_name_is_cut_a_long_folder_stays_one_and_what_is_too_deep_goes_elsewhere():
    long, deep = "f" * 150, "/".join(["d" * 40] * 12)
    names = [f"{long}/{'n' * 150}{n}.wav" for n in range(3)] + [
        f"{long}/s.wav",
        f"{deep}/one.wav",
        f"{deep}/two.wav",
        "x" * 250 + ".wav",
    ]
    found = mapped(names, below="cleaned")
    assert not [why for name in found.values() if (why := unfit(name))]
    assert len({found[name].split("/")[0] for name in names[:4]}) == 1 and len(set(found.values())) == len(names)
    assert all(name.endswith(".wav") for name in found.values())
    assert {found[f"{deep}/one.wav"], found[f"{deep}/two.wav"]} == {"_deep/one.wav", "_deep/two.wav"}
    assert found == mapped(reversed(names), below="cleaned")


def test_a_folder_of_a_name_that_the_archive_needs_gives_way():
    assert mapped(["manifest.jsonl/a.wav"], taken=["manifest.jsonl"])["manifest.jsonl/a.wav"] != "manifest.jsonl/a.wav"


PARTS = st.text(st.sampled_from("aAbß.:? é\\\n\u0301🎙~_1"), min_size=1, max_size=6).filter(
    lambda part: part.strip(".") != ""
)
NAMES = st.one_of(PARTS, st.sampled_from(["CON", "nul", "com1.x", "a" * 200, "🎙" * 100]))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=6).map("/".join), max_size=12))
def test_any_tree(paths: list[str]):
    paths = [f"{path}.wav" for path in dict.fromkeys(paths)]
    found = mapped(paths, below="cleaned")
    assert set(found) == set(paths) and not [why for name in found.values() if (why := unfit(name))]
    assert len({folded(name) for name in found.values()}) == len(paths)
    for a, new_a in found.items():
        for b, new_b in found.items():
            if not new_a.startswith("_deep") and not new_b.startswith("_deep"):
                assert (a.rpartition("/")[0] == b.rpartition("/")[0]) == (
                    new_a.rpartition("/")[0] == new_b.rpartition("/")[0]
                )
    assert mapped(found.values(), below="cleaned") == {name: name for name in found.values()}, (
        "nothing is left to change"
    )
    assert all(units(name) <= 232 for name in found.values())
