"""All stages from ingest to the output folder on small models, called as the commands call them, for one folder of recordings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiorestorer.config import Config, EvaluateSettings
from audiorestorer.manifest import Item, read_manifest, read_manifests
from audiorestorer.models import fetching
from audiorestorer.stages import denoise, evaluate, fuse, ingest, loudness, postmask, publish, separate
from audiorestorer.stages.job import Job
from tests.tiny_models import write_model_json, write_tiny_htdemucs_bag, write_tiny_mask_unet

ROOT = Path(__file__).parents[2]
RENDERED = ("fuse", "denoise", "postmask", "loudness")
METRICS = EvaluateSettings(metrics=["loudness", "music", "signal", "intelligibility"])


@dataclass
class Chain:
    """Models by name (`a`, `b`: separators; `denoiser`) as `fetch-model` writes them, and how they are run."""

    models: dict[str, Path]
    changes: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    shards: int = 1
    measured: bool = True

    @classmethod
    def tiny(cls, folder: Path, **more: Any) -> Chain:
        """Mask networks with random weights."""
        models = {}
        for name, task in {"a": "separate", "b": "separate", "denoiser": "denoise"}.items():
            write_tiny_mask_unet(folder / f"{name}.safetensors", task)
            models[name] = write_model_json(
                folder / f"{name}.json", name, "mask_network", [folder / f"{name}.safetensors"], task=task
            )
        return cls(models, **more)

    @classmethod
    def demucs(cls, folder: Path, **more: Any) -> Chain:
        """A bag of HTDemucs with random weights beside a mask network."""
        made = cls.tiny(folder, **more)
        made.models["a"] = write_model_json(
            folder / "a.json", "a", "demucs", write_tiny_htdemucs_bag(folder / "bag", "a")
        )
        return made

    @classmethod
    def pilot(cls, folder: Path, **more: Any) -> Chain:
        """The pilot models, which are trained."""
        models = {}
        for name, entry in {"a": "pilot_sep_a", "b": "pilot_sep_b", "denoiser": "pilot_denoiser"}.items():
            models[name] = folder / f"{entry}.json"
            fetching.fetch(entry, ROOT / "config/models.yaml", models[name], folder)
        return cls(models, **more)

    def config(self, folder: Path) -> Config:
        separators = [{"name": name, "model": name, **self.changes.get("separator", {})} for name in ("a", "b")]
        values = {
            "input": str(folder / "input"), "output": str(folder / "output"), "shards": self.shards, "device": "cpu",
            "separators": separators, "denoise": {"enabled": True, "model": "denoiser", **self.changes.get("denoise", {})},
            "fuse": {"method": "mean", **self.changes.get("fuse", {})},
            "loudness": self.changes.get("loudness", {}), "ingest": self.changes.get("ingest", {}),
        }  # fmt: skip
        return Config.model_validate(values)

    def ingest(self, folder: Path) -> list[Item]:
        """The rows of everything below `folder/input`."""
        rows = [
            ingest.run(folder / f"ingest.{k}.jsonl", self.config(folder), k, folder / "store")
            for k in range(self.shards)
        ]
        return [row for shard in rows for row in shard]

    def render(self, folder: Path) -> list[Item]:
        """The rows after all stages; `published` names the output."""
        for shard in range(self.shards):
            self._render(folder, shard)
        return self.rows(folder, "publish")

    def _render(self, folder: Path, shard: int) -> None:
        config, job = self.config(folder), Job(folder / "store", "cpu", self.threads)

        def rows(stage: str) -> Path:
            return folder / f"{stage}.{shard}.jsonl"

        for settings in config.separators:
            separate.run(rows("ingest"), rows(settings.name), settings, job, self.models[settings.name])
        fuse.run([rows("a"), rows("b")], rows("fuse"), config.fuse, job)
        denoise.run(rows("fuse"), rows("denoise"), config.denoise, job, self.models["denoiser"])
        postmask.run(rows("denoise"), rows("postmask"), config.postmask, job)
        loudness.run(rows("postmask"), rows("loudness"), config.loudness, job)
        if self.measured:
            evaluate.run(rows("loudness"), rows("evaluate"), METRICS, job)
        publish.run(rows("loudness"), rows("publish"), Path(config.output), [], job.store)

    def rows(self, folder: Path, stage: str) -> list[Item]:
        if self.shards == 1:
            return read_manifest(folder / f"{stage}.0.jsonl")
        return read_manifests(folder / f"{stage}.{shard}.jsonl" for shard in range(self.shards))
