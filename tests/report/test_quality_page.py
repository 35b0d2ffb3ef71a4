"""The benchmark's tables as a page of the report."""

from pathlib import Path

import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.report.marked import marks, parts
from audiorestorer.stages.batch import quality_page

ROOT = Path(__file__).parents[2]
TEXT = """
Measured on
two cores.

### one: 3 pairs

Before.

|  | SI-SDRi, dB ↑ |
| --- | ---: |
| input | 0 |
| a <b> & c | +1.0 |

After.

### nothing
"""


def test_the_page_holds_every_system_of_the_benchmark_and_escapes_what_it_shows(tmp_path: Path) -> None:
    out = tmp_path / "quality.html"
    quality_page.run(ROOT / "docs/lab/quality.md", out)
    html = out.read_text()
    for text in (
        "mixtures: 18 pairs",
        "noisy: 3 pairs",
        "RNNoise",
        "noisereduce",
        "whole chain (defaults)",
        "pilot_sep_a alone",
    ):
        assert text in html
    marked = tmp_path / "marked.md"
    marked.write_text(TEXT.join(marks("quality")))
    quality_page.run(marked, out)
    html = out.read_text()
    assert "a &lt;b&gt; &amp; c</td>" in html and "<b>" not in html
    assert "<h3>one: 3 pairs</h3>" in html and "two cores.</p>" in html and html.count("<table>") == 1


def test_without_marks_it_says_so(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("### no marks\n")
    with pytest.raises(AudioRestorerError, match=r"page\.md: lacks the marks"):
        parts(page, "quality")
    with pytest.raises(AudioRestorerError, match=r"absent\.md: cannot be read"):
        parts(tmp_path / "absent.md", "quality")
