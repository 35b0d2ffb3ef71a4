"""The optional stage between postmask and loudness: in the graph only where it is asked for; going back is instant."""

import soundfile as sf

from tests.tiny_models import write_tiny_enhancer
from tests.workflow.conftest import RATE, Workspace


def with_enhancer(workspace: Workspace, rate: int) -> None:
    write_tiny_enhancer(workspace.folder / "tiny_enhancer.safetensors", rate)
    registry = workspace.folder / "models.yaml"
    registry.write_text(
        registry.read_text()
        + "  tiny_enhancer:\n    kind: enhancer\n    source: tiny_enhancer.safetensors\n    licence: MIT\n    task: enhance\n"
    )
    workspace.config["enhance"] = {
        "enabled": True, "model": "tiny_enhancer", "nfe": 2, "solver": "euler", "max_wer": None,
    }  # fmt: skip


def test_only_in_the_graph_when_enabled(finished: Workspace, copy: Workspace) -> None:
    assert "enhance" not in finished.run("--dry-run", "--forceall", "--quiet", "progress", ok=True).replace(
        "enhancer", ""
    )
    before = {stage: copy.computed(stage) for stage in ("postmask", "loudness")}
    outputs = copy.outputs()
    with_enhancer(copy, 32_000)
    copy.render()
    assert len(copy.computed("enhance")) == 5 and copy.computed("postmask") == before["postmask"]
    assert len(copy.computed("loudness") - before["loudness"]) == 5
    for name in copy.outputs():
        given, made = (sf.info(str(copy.folder / place / name)) for place in ("batch/input", "artifacts/output"))
        assert made.samplerate == 32_000 and given.samplerate == RATE and made.channels == given.channels
        assert made.frames == round(given.frames * 32_000 / RATE)
    rows = [row for row in copy.metrics()["items"] if row["status"] == "ok"]
    assert all(row["enhanced"] is True for row in rows)
    copy.run("--", "snippets")
    heard = {path.parent.name for path in (copy.folder / "artifacts/eval/snippets").glob("*/unenhanced.mp3")}
    assert heard and heard <= {row["id"] for row in rows}
    copy.config["enhance"]["sample_rate"] = "keep"
    copy.render()
    assert {sf.info(str(copy.folder / "artifacts/output" / name)).samplerate for name in copy.outputs()} == {RATE}
    del copy.config["enhance"]
    before = {stage: copy.computed(stage) for stage in ("postmask", "loudness")}
    copy.render()
    assert copy.outputs() == outputs and {stage: copy.computed(stage) for stage in before} == before
