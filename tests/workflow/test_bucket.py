"""A batch out of a bucket and into one, on a real S3 server (tests/buckets/one_server.sh), with the storage settings of
`profiles/kubernetes`, the lines of docs/cluster.md and the local executor; against the same batch run without a bucket."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import ROOT, Workspace, command, environment, make_workspace

NEEDED = (
    "swift-proxy-server",
    "swift-account-server",
    "swift-container-server",
    "swift-object-server",
    "memcached",
    "rclone",
)
MISSING = [name for name in NEEDED if shutil.which(name) is None]
if importlib.util.find_spec("snakemake_storage_plugin_s3") is None:
    MISSING.append("snakemake-storage-plugin-s3")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"no S3 server: {', '.join(MISSING)} missing (apt-get install swift-proxy swift-account swift-container swift-object"
        " memcached rclone; pip install -r requirements-kubernetes.lock)",
    ),
]
# The profile's settings that are of Kubernetes and not of the bucket.
ELSEWHERE = ("executor", "container-image", "jobs", "groups", "set-resources")
METRICS = ["loudness", "signal"]


@dataclass
class Server:
    """An S3 server with the bucket `recordings`, and its keys."""

    endpoint: str
    access_key: str
    secret_key: str

    def rclone(self, *arguments: str | Path) -> str:
        settings = {
            "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": self.endpoint,
            "ACCESS_KEY_ID": self.access_key, "SECRET_ACCESS_KEY": self.secret_key,
        }  # fmt: skip
        own = {f"RCLONE_CONFIG_BUCKET_{name}": value for name, value in settings.items()}
        rest = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}  # rclone 1.60 ends at it
        line = ["rclone", "--config", "", *map(str, arguments)]
        return subprocess.run(line, check=True, capture_output=True, text=True, env={**rest, **own}).stdout

    def names(self, folder: str) -> list[str]:
        return sorted(self.rclone("lsf", "--recursive", "--files-only", f"bucket:{folder}").splitlines())

    def given(self) -> dict[str, str]:
        return {
            "SNAKEMAKE_STORAGE_S3_ACCESS_KEY": self.access_key,
            "SNAKEMAKE_STORAGE_S3_SECRET_KEY": self.secret_key,
        }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("s3")
    told = 'echo "$S3_ENDPOINT $S3_ACCESS_KEY $S3_SECRET_KEY"; exec sleep 3600'
    line = [str(ROOT / "tests/buckets/one_server.sh"), str(folder), "bash", "-c", told]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = process.stdout.readline().split()
    assert len(found) == 3, "the S3 server did not start"
    server = Server(*found)
    server.rclone("mkdir", "bucket:recordings")
    yield server
    process.terminate()
    process.wait()


def profile(folder: Path, server: Server, bucket: str = "recordings") -> Path:
    """`profiles/kubernetes` without what only Kubernetes takes, with the bucket and its address."""
    settings = yaml.safe_load((ROOT / "profiles/kubernetes/profile.yaml").read_text())
    settings = {
        key: value for key, value in settings.items() if key not in ELSEWHERE and not key.startswith("kubernetes")
    }
    for name in ("gpu_manufacturer", "scale"):
        del settings["default-resources"][name]
    settings["default-storage-prefix"] = f"s3://{bucket}/audiorestorer"
    settings["storage-s3-endpoint-url"] = server.endpoint
    path = folder / "profile/profile.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(settings))
    return path.parent


def run(workspace: Workspace, profile: Path, keys: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    line = command(workspace.folder, workspace.config, "--workflow-profile", str(profile), *arguments)
    known = {name: value for name, value in environment().items() if not name.startswith(("AWS_", "SNAKEMAKE_"))}
    empty = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(workspace.folder)}  # no keys of the machine's own
    done = subprocess.run(line, cwd=ROOT, env={**known, **empty, **keys}, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@dataclass
class Runs:
    local: Workspace
    bucket: Workspace
    profile: Path
    log: str
    at_kill: dict[Path, int]


def entries(workspace: Workspace) -> dict[Path, int]:
    """The finished items in the store, with the times at which they were written."""
    return {path: path.stat().st_mtime_ns for path in (workspace.folder / "artifacts/store").rglob("*.json")}


@pytest.fixture(scope="module")
def runs(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The recordings come out of the bucket, as a user's would; a run is killed and goes on; its results go into the bucket."""
    folder = tmp_path_factory.mktemp("bucket")
    workspace = make_workspace(folder / "w")
    workspace.config |= {"evaluate": {"metrics": METRICS}}
    targets = ["--", "all", "deliver"]
    workspace.run(*targets)
    (folder / "w/artifacts").rename(folder / "artifacts")  # the same batch at the same place
    server.rclone("copy", folder / "w/batch", "bucket:recordings/batch")
    shutil.rmtree(folder / "w/batch")

    server.rclone("copy", "bucket:recordings/batch", folder / "w/batch")
    options = profile(folder, server)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.given().items():
            patch.setenv(name, value)
        started = workspace.start("--workflow-profile", str(options), *targets)
        workspace.kill_when(started, "artifacts/store/separate/*/??/*.json", 3)
    at_kill = entries(workspace)
    code, log = run(workspace, options, server.given(), *targets)
    assert code == 0, log[-9000:]
    server.rclone("copy", folder / "w/artifacts/output", "bucket:recordings/cleaned")
    return Runs(Workspace(folder), workspace, options, log, at_kill)


def test_the_results_in_the_bucket_are_those_of_a_run_without_one(runs: Runs, server: Server, tmp_path: Path):
    server.rclone("copy", "bucket:recordings", tmp_path)
    cleaned = {str(path.relative_to(tmp_path / "cleaned")): path for path in (tmp_path / "cleaned").rglob("*.*")}
    expected = runs.local.outputs()
    assert len(expected) == 5 and {name: path.read_bytes() for name, path in cleaned.items()} == expected
    stored, local = tmp_path / "audiorestorer/artifacts", runs.local.folder / "artifacts"
    for pattern in ("manifests/**/*.jsonl", "eval/metrics.*", "delivery/*.sha256"):
        names = [path.relative_to(local) for path in local.glob(pattern)]
        assert names and all((stored / name).read_bytes() == (local / name).read_bytes() for name in names), pattern
    pages = [path.relative_to(local) for path in (local / "report").rglob("*.*")]
    assert len(pages) > 9 and all((stored / page).stat().st_size > 0 for page in pages)


def test_a_killed_run_goes_on_without_what_it_had_finished(runs: Runs):
    after = entries(runs.bucket)
    assert len(runs.at_kill) >= 3 and runs.at_kill.items() <= after.items() and len(after) > len(runs.at_kill)


def test_the_delivery_lies_beside_the_items_and_its_checksums_hold(runs: Runs):
    folder = runs.bucket.folder / "artifacts/delivery"
    (sums,) = folder.glob("*.sha256")
    subprocess.run(["sha256sum", "--check", "--quiet", sums.name], cwd=folder, check=True)


def test_a_second_run_has_nothing_to_do(runs: Runs, server: Server):
    code, log = run(runs.bucket, runs.profile, server.given(), "--", "all", "deliver")
    assert code == 0 and "Nothing to be done" in log, log[-3000:]


def test_an_output_that_was_deleted_is_published_again(runs: Runs, server: Server):
    path = runs.bucket.folder / "artifacts/output/four.wav"
    content = path.read_bytes()
    path.unlink()
    code, log = run(runs.bucket, runs.profile, server.given(), "--", "all")
    assert code == 0 and path.read_bytes() == content, log[-3000:]


@pytest.mark.parametrize(
    ("bucket", "keys", "message"),
    [
        ("recordings", {"SECRET": "wrong"}, "the server refuses the keys (SignatureDoesNotMatch): check SNAKEMAKE_STORAGE_S3_ACC"),
        ("recordings", {"ACCESS": "nobody"}, "the server refuses the keys"),
        ("recordings", None, "no keys for the bucket: set SNAKEMAKE_STORAGE_S3_ACCESS_KEY"),
        ("absent", {}, "default-storage-prefix: s3://absent: no such bucket: make it first"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_clear_message(
    runs: Runs, server: Server, tmp_path: Path, bucket: str, keys: dict[str, str] | None, message: str
):
    changed = {f"SNAKEMAKE_STORAGE_S3_{name}_KEY": value for name, value in (keys or {}).items()}
    given = {} if keys is None else {**server.given(), **changed}
    code, log = run(runs.bucket, profile(tmp_path, server, bucket), given)
    assert code == 1 and message in log and "Traceback" not in log, log[-3000:]
    assert server.rclone("lsf", "bucket:").split() == ["recordings/"], "no bucket is made by the way"
