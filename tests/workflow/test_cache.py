"""Snakemake's cache between workflows: a second folder takes weights, training audio and trained models from it."""

from __future__ import annotations

import functools
import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiorestorer.store import sha256_file
from tests import warm
from tests.workflow.conftest import ROOT, Workspace, make_workspace
from tests.workflow.test_render import copy_of_the_house
from tests.workflow.test_training import EXPERIMENT

MODELS = ("tiny_a", "tiny_b", "tiny_denoiser")
# In the place of the synthesisers, which are Debian packages: files of the same kinds, with the same index
AUDIO = """
import argparse, json
from pathlib import Path
import numpy as np, soundfile as sf
parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path)
for name in ("speech", "music", "prompts", "tracks", "sounds"):
    parser.add_argument(f"--minutes-{name}")
for name in ("--recordings", "--set", "--seed", "--jobs"):
    parser.add_argument(name)
out, rows = parser.parse_args().out, []
for number in range(12):
    kind, split = ("speech", "music")[number % 2], ("train", "valid", "test")[number // 2 % 3]
    path = out / kind / f"{split}_{number}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(22050 * 3) / 22050
    sf.write(path, 0.3 * np.sin(2 * np.pi * (200 + 50 * number) * t) * (np.sin(9 * t) > 0), 22050)
    rows.append({"path": f"{kind}/{path.name}", "kind": kind, "label": f"l{number}", "split": split, "seconds": 3.0})
(out / "index.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[http.server.ThreadingHTTPServer, Path, list[str]]]:
    """An https server on this machine with a certificate of its own: (server, its folder, the files asked for)."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl program to make a certificate with")
    folder, asked = tmp_path / "served", list[str]()
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key.pem", "-out",
         tmp_path / "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            asked.append(self.path)

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    found.socket = context.wrap_socket(found.socket, server_side=True)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found, folder, asked
    found.shutdown()
    found.server_close()


def remote(workspace: Workspace, served: Path, port: int) -> None:
    """Move the workspace's models to the server."""
    entries = ""
    for name in MODELS:
        path = workspace.folder / f"{name}.safetensors"
        shutil.copy(path, served)
        path.unlink()
        digest = sha256_file(served / path.name)
        entries += (
            f"  {name}:\n    kind: mask_network\n    source: https://localhost:{port}\n    licence: MIT\n    sample_rate: 22050\n"
            f"    files: [{{name: {path.name}, sha256: {digest}}}]\n"
            f"    task: {'denoise' if 'denoiser' in name else 'separate'}\n"
        )
    (workspace.folder / "models.yaml").write_text(f"models:\n{entries}")


@pytest.mark.slow
def test_weights_are_fetched_once_for_two_folders(server, finished: Workspace, tmp_path: Path, monkeypatch):
    found, served, asked = server
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    for name in ("one", "two"):
        workspace = make_workspace(tmp_path / name)
        remote(workspace, served, found.server_port)
        workspace.run("--cache")
        assert workspace.outputs() == finished.outputs()
        assert "Nothing to be done" in workspace.run("--cache")
        assert sorted(asked) == sorted(f"/{model}.safetensors" for model in MODELS)
    weights = tmp_path / "two/artifacts/models/tiny_a/tiny_a.safetensors"
    assert weights.is_symlink() and weights.resolve().parent == tmp_path / "cache"


@pytest.mark.slow
def test_without_a_cache_weights_put_in_by_hand_are_used(finished: Workspace, tmp_path: Path):
    workspace = make_workspace(tmp_path / "w")
    remote(workspace, tmp_path, 1)
    for name in MODELS:
        target = workspace.folder / f"artifacts/models/{name}/{name}.safetensors"
        target.parent.mkdir(parents=True)
        shutil.copy(tmp_path / f"{name}.safetensors", target)
    workspace.run()
    assert workspace.outputs() == finished.outputs()


RECORDINGS = """
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
folder.mkdir(parents=True)
(folder / "recording").write_text("as unpacked")
"""


@pytest.mark.slow
def test_training_audio_and_trained_model_are_made_once_for_two_folders(tmp_path: Path, monkeypatch):
    house = copy_of_the_house(tmp_path / "house")
    (house / "data").symlink_to(ROOT / "data")
    (house / "models").symlink_to(ROOT / "models")
    stand_ins = {"make_training_audio": AUDIO, "free_recordings": RECORDINGS, "synth_music": "", "synth_speech": ""}
    for name, content in stand_ins.items():
        (house / "scripts/audio" / f"{name}.py").write_text(content)
    (house / "config/experiments/pilot_denoiser.yaml").write_text(
        EXPERIMENT.replace("name: tiny", "name: pilot_denoiser")
    )
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    target = "artifacts/trained/pilot_denoiser.figures.json"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        command = [
            "-m", "snakemake", "-s", str(house / "Snakefile"), "--directory", str(tmp_path / name),
            "--workflow-profile", str(ROOT / "profiles/default"), "--cores", "1", "--cache", "--config", "device=cpu", "--", target,
        ]  # fmt: skip
        done = warm.run(*command, cwd=house)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        made = tmp_path / name / "artifacts/logs"
        for log in (
            "train/pilot_denoiser.log",
            "training_audio/separators.log",
        ):  # of what came from the cache Snakemake makes empty ones
            assert ((made / log).stat().st_size > 0) <= (name == "one"), log
        assert (tmp_path / name / "artifacts/runs").exists() == (name == "one")
        assert (tmp_path / name / target).stat().st_size > 100
    one, two = (tmp_path / name / "artifacts/trained/pilot_denoiser.safetensors" for name in ("one", "two"))
    assert two.is_symlink() and one.read_bytes() == two.read_bytes()
    assert "Nothing to be done" in warm.run(*command, cwd=house).stderr
