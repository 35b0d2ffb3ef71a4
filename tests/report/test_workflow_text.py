"""The report's front page says what the configuration did, and nothing else."""

from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

from audiorestorer.config import Config
from audiorestorer.digest import ROOT

TEXT = (ROOT.parent / "report" / "workflow.rst").read_text(encoding="utf-8")


def said(**changes: Any) -> str:
    config = Config().model_dump(mode="json")
    for section, values in changes.items():
        config[section] = {**config[section], **values} if isinstance(values, dict) else values
    return jinja2.Template(TEXT).render(snakemake=SimpleNamespace(config=config))


def test_the_defaults_are_one_separator_and_no_post_mask() -> None:
    text = said()
    assert "one separator" in text and "55 % of its output and 45 % of its input" in text and "-23.0 LUFS" in text
    assert not any(word in text for word in ("maximum", "*postmask*", "*enhance*", "*fuse*"))


@pytest.mark.parametrize(
    ("method", "words"), [("max", "joined by their maximum"), ("mean", "the mean of the separators'")]
)
def test_several_separators_are_fused_as_configured(method: str, words: str) -> None:
    pair = [{"name": name, "model": name} for name in ("a", "b")]
    assert words in said(separators=pair, fuse={"method": method}) and "2 separators" in said(separators=pair)


def test_stages_that_are_switched_on_are_told_and_those_off_are_not() -> None:
    text = said(
        postmask={"floor": 0.1}, enhance={"enabled": True}, denoise={"model": None}, loudness={"target_lufs": -16.0}
    )
    assert "beta-Wiener" in text and "made anew" in text and "-16.0 LUFS" in text and "*denoise*" not in text
    lines = [line for line in text.splitlines() if line.startswith("#. ")]
    assert len(lines) == 6  # each step is an item of the numbered list
