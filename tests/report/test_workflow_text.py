"""The report's front page and captions, rendered as Snakemake renders them, say what the configuration did, and nothing else."""

import re
from ast import literal_eval
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from docutils.core import publish_parts

from audiorestorer.config import Config
from audiorestorer.digest import ROOT

FOLDER = ROOT.parent / "report"
CAPTIONS = sorted(path.name for path in (FOLDER / "captions").glob("*.rst"))
SUMMARY = """# Summary of the run

**12 of 14 files were restored and 2 rejected.** Medians before → after (95 % intervals):

- SI-SDR (dB): 4.00 → **12.59** (10.19 to 15.44); files: 12 better, 0 worse
- WER: not measured: no \\| recogniser \\`x\\`

Gained least by SI-SDR: a.wav.
"""
LINKS = (
    ".. _results.html: javascript:app.showResultInfo('x')\n.. _Listening: javascript:app.showCategory('Listening')\n"
)


def said(text: Path, files: list[Any], **changes: Any) -> tuple[str, str]:
    """The text as reST and as HTML; `changes` are sections of the configuration."""
    config = Config().model_dump(mode="json")
    for section, values in changes.items():
        config[section] = {**config[section], **values} if isinstance(values, dict) else values
    # as in snakemake.report: without these two a list's lines run into each other
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    source = environment.from_string(text.read_text(encoding="utf-8") + "\n\n" + LINKS)
    rest = source.render(snakemake=SimpleNamespace(config=config), files=files, categories={})
    html = publish_parts(rest, writer="html", settings_overrides={"report_level": 2, "halt_level": 2})["html_body"]
    return rest, html


@pytest.fixture
def files(tmp_path: Path) -> list[Any]:
    (tmp_path / "summary.md").write_text(SUMMARY, encoding="utf-8")
    for name, players in (("worst", '<section class="item" id="item-0">'), ("best", "no file"), ("sample", "no file")):
        (tmp_path / f"listening-{name}.html").write_text(players, encoding="utf-8")
    names = ("results.html", "summary.md", *(path.name for path in tmp_path.glob("listening-*.html")))
    return [SimpleNamespace(target=name, path=tmp_path / name) for name in names]


def front(files: list[Any], **changes: Any) -> str:
    return said(FOLDER / "workflow.rst", files, **changes)[0]


def test_the_outcome_comes_first_and_leads_to_the_results(files: list[Any]) -> None:
    _, html = said(FOLDER / "workflow.rst", files)
    places = [
        html.index(text)
        for text in ("12 of 14 files", "<strong>12.59</strong>", "setView", "gained least", "What was done")
    ]
    assert places == sorted(places) and "<li>WER: not measured: no | recogniser `x`</li>" in html
    assert html.count("<ol") == 1 and html.count("<ul") == 1 and "#." not in html


def test_only_listening_pages_that_hold_players_are_linked(files: list[Any]) -> None:
    text = front(files)
    assert "gained least <javascript:" in text and "gained most" not in text and "at random" not in text


def test_a_run_without_restored_files_does_not_speak_of_any() -> None:
    text = front([])
    assert "no restored recordings" in text and "*separate*" not in text and "*Listening*" not in text


def test_the_defaults_are_three_separators_and_a_network_that_weighs_them(files: list[Any]) -> None:
    text = front(files)
    assert (
        "3 separators (``pilot_sep_a``, ``pilot_sep_b``, ``deepfilternet3``)" in text
        and "``pilot_fusion``) weighs" in text
    )
    assert "-23.0 LUFS" in text
    assert not any(word in text for word in ("maximum", "*denoise*", "*postmask*", "*enhance*"))


def test_one_separator_and_a_denoiser_are_told_as_they_are(files: list[Any]) -> None:
    text = front(files, separators=[{"name": "a", "model": "a"}], fuse={"method": "average"}, denoise={"enabled": True})
    assert "one separator (``a``) estimates the speech.\n" in text and "*fuse*" not in text
    assert "55 % of its output and 45 % of its input" in text


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("max", "joined by their maximum"),
        ("mean", "the mean of the separators' ratio masks"),
        ("average", "the mean of the separators' estimates"),
    ],
)
def test_several_separators_are_fused_as_configured(files: list[Any], method: str, words: str) -> None:
    pair = [{"name": name, "model": name} for name in ("a", "b")]
    text = front(files, separators=pair, fuse={"method": method})
    assert words in text and "2 separators (``a``, ``b``)" in text


def test_stages_that_are_switched_on_are_told_and_those_off_are_not(files: list[Any]) -> None:
    changes = {"postmask": {"enabled": True}, "denoise": {"model": None}, "loudness": {"target_lufs": -16.0}}
    rest, html = said(FOLDER / "workflow.rst", files, enhance={"enabled": True}, **changes)
    assert "beta-Wiener" in rest and "speech anew" in rest and "-16.0 LUFS" in rest and "*denoise*" not in rest
    steps = html[html.index("<ol") : html.index("</ol>")]
    assert steps.count("<li>") == 7  # each step is an item of the numbered list


@pytest.mark.parametrize(
    ("enhance", "words", "absent"),
    [
        ({}, "unless its words would change", "any."),
        ({"max_wer": None}, "makes speech anew.", "words would change"),
        ({"denoise_only": True}, "mended where there are any.", "speech anew"),
    ],
)
def test_what_the_enhancer_does_follows_its_settings(
    files: list[Any], enhance: dict[str, Any], words: str, absent: str
) -> None:
    text = front(files, enhance={"enabled": True, **enhance})
    assert words in text and absent not in text


def test_only_the_metrics_that_were_asked_for_are_named(files: list[Any]) -> None:
    text = front(files, evaluate={"metrics": ["loudness", "music"]})
    assert "(loudness, music)" in text and "dnsmos" not in text


def test_every_file_of_the_report_has_one_label() -> None:
    """Snakemake makes a switch of a second one that divides a category in halves, and looks for files that are not there."""
    rules = [path.read_text("utf-8") for path in (ROOT.parent / "rules").glob("*.smk")]
    labels = [literal_eval(found) for text in rules for found in re.findall(r"labels=(.*),\n", text)]
    assert len(labels) == sum(text.count("report(\n") for text in rules) > 20
    assert {tuple(label) for label in labels} == {("view",)}


@pytest.mark.parametrize("name", CAPTIONS)
def test_every_caption_is_valid(name: str) -> None:
    assert said(FOLDER / "captions" / name, [])[1]


def test_captions_follow_the_configuration() -> None:
    folder = FOLDER / "captions"
    assert "1 training per row" in said(folder / "ablation.rst", [], ablation={"seeds": [31]})[0]
    assert "3 trainings per row" in said(folder / "ablation.rst", [])[0]
    assert "enhancer" not in said(folder / "details.rst", [])[0]
    assert "enhancer" in said(folder / "details.rst", [], enhance={"enabled": True})[0]
