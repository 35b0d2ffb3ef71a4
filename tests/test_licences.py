"""Commercial use, by what the registry says and by the licence's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiorestorer.licences import Use, commercial_use
from audiorestorer.models import registry


@pytest.mark.parametrize(
    ("licence", "use"),
    [
        ("MIT", "allowed"),
        ("MIT or Apache-2.0", "allowed"),
        ("BSD-3-Clause", "allowed"),
        ("GPL-2.0-or-later", "allowed"),
        ("LGPL-2.1+", "allowed"),
        ("CC-BY-4.0", "allowed"),
        ("CC-BY-SA-4.0", "allowed"),
        ("CC0-1.0", "allowed"),
        ("CC-BY-NC-4.0", "forbidden"),
        ("CC BY-NC 4.0", "forbidden"),
        ("CC-BY-NC-SA-4.0", "forbidden"),
        ("Attribution-NonCommercial 4.0 International", "forbidden"),
        ("free for non-commercial use", "forbidden"),
        ("not for non commercial use alone", "forbidden"),
        ("MIT (of the code; whether it covers the weights, nobody says)", None),
        ("MIT, for research", None),
        ("not stated", None),
        ("permitted", None),
        ("CC-BY-ND-4.0", None),
        ("", None),
        (None, None),
    ],
)
def test_the_name_of_a_licence_tells(licence: str | None, use: Use | None) -> None:
    assert commercial_use(licence) == use


@pytest.mark.parametrize("said", ["allowed", "forbidden", "unclear"])
@pytest.mark.parametrize("licence", ["MIT", "CC-BY-NC-4.0", "not stated"])
def test_what_the_registry_says_counts_before_the_name(licence: str, said: Use) -> None:
    assert commercial_use(licence, said) == said


def test_every_model_of_the_registry_has_an_answer() -> None:
    known = registry.load(Path("config/models.yaml")).models
    assert [name for name, entry in known.items() if entry.commercial_use is None] == []
    for name, use in (("pilot_sep_a", "allowed"), ("dns64", "forbidden"), ("deepfilternet3", "unclear")):
        assert known[name].commercial_use == use
