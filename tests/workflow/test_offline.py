"""Weights from a real TLS server: fetched before, then a run with no network at all; cut, then named and fetched again.

Without a network means: in a network namespace of its own (`unshare -n`), where not even the own machine can be reached; where the
system forbids that, with sockets refused in every Python process of the run.
"""

from __future__ import annotations

import http.server
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import soundfile as sf

from audiorestorer.store import sha256_file
from tests.models.test_download import certificate  # noqa: F401  a fixture
from tests.workflow.conftest import RATE, Workspace, environment, make_workspace, speechlike

NAMESPACE = ["unshare", "--map-root-user", "--net"]
GUARD = """import socket
def refused(self, address, *rest):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise OSError(101, "Network is unreachable")
    return connect(self, address, *rest)
connect, socket.socket.connect = socket.socket.connect, refused
"""
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make the certificate")


class Files(http.server.SimpleHTTPRequestHandler):
    """The models' folder; what was asked for is noted."""

    seen: list[str] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.seen.append(self.path)
        super().do_GET()


@pytest.fixture
def workspace(
    tmp_path: Path,
    certificate: tuple[Path, Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workspace]:
    """A batch of one recording whose models lie on a server."""
    made = make_workspace(tmp_path / "w", items=1)
    models = tmp_path / "served"
    models.mkdir()
    for path in made.folder.glob("*.safetensors"):
        path.rename(models / path.name)
    server = http.server.ThreadingHTTPServer(("localhost", 0), partial(Files, directory=str(models)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    monkeypatch.setattr(Files, "seen", [])
    entry = (
        "  {0}: {{kind: mask_network, task: {1}, licence: MIT, sample_rate: 22050, source: 'https://localhost:{2}',"
        " files: [{{name: {0}.safetensors, sha256: {3}}}]}}\n"
    )
    (made.folder / "models.yaml").write_text("models:\n" + "".join(
        entry.format(path.stem, "denoise" if "denoiser" in path.stem else "separate", server.server_port, sha256_file(path))
        for path in sorted(models.iterdir())
    ))  # fmt: skip
    made.config |= {"shards": 1, "evaluate": {"metrics": ["loudness"]}}
    yield made
    server.shutdown()
    server.server_close()


def without_network(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A run that can reach nothing."""
    command, env = workspace.command(*arguments), environment()
    if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0:
        command = [*NAMESPACE, *command]
    else:
        (workspace.folder / "guard").mkdir(exist_ok=True)
        (workspace.folder / "guard/sitecustomize.py").write_text(GUARD)
        env["PYTHONPATH"] = str(workspace.folder / "guard")
    return subprocess.run(command, capture_output=True, text=True, env=env)


RENDERED = ("--", "artifacts/manifests/publish/0.jsonl")
RECORDS = [f"artifacts/models/{name}.json" for name in ("tiny_a", "tiny_b", "tiny_denoiser")]


@pytest.mark.slow
def test_prefetched_it_runs_without_a_network(workspace: Workspace) -> None:
    alone = without_network(workspace, *RENDERED)
    text = alone.stdout + alone.stderr
    assert (
        alone.returncode
        and "3 files of tiny_a, tiny_b, tiny_denoiser missing, and cannot be fetched from here (localhost" in text
        and "models fetch tiny_a tiny_b tiny_denoiser --models-dir" in text
    )
    assert not Files.seen, "it reached the server"
    workspace.run("--", *RECORDS)
    assert sorted(Files.seen) == [f"/{name}.safetensors" for name in ("tiny_a", "tiny_b", "tiny_denoiser")]
    done = without_network(workspace, *RENDERED)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert set(workspace.outputs()) == {"x one.wav"} and len(Files.seen) == 3


@pytest.mark.slow
def test_a_cut_weight_is_named_and_fetched_again(workspace: Workspace) -> None:
    workspace.run(*RENDERED)
    before, weight = workspace.outputs(), workspace.folder / "artifacts/models/tiny_a/tiny_a.safetensors"
    content = weight.read_bytes()
    os.truncate(weight, len(content) // 2)
    sf.write(workspace.folder / "batch/input/new.wav", speechlike(9), RATE)  # what is finished needs no weights
    offline = without_network(workspace, *RENDERED)
    text = offline.stdout + offline.stderr
    assert offline.returncode and f"With no network, put the file {weight.name}" in text and "is damaged" in text
    assert "Traceback" not in text
    text = workspace.run(*RENDERED)
    assert "tiny_a.safetensors: sha256 is" in text and "fetching it again" in text
    after = workspace.outputs()
    assert weight.read_bytes() == content and set(after) == {*before, "new.wav"} and before.items() <= after.items()
    assert Files.seen.count("/tiny_a.safetensors") == 2 and Files.seen.count("/tiny_b.safetensors") == 1
