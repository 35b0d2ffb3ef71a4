"""The policy of the workflow: which stages run, what their jobs need, and what makes their results stale. No torch import.

It follows from the configuration and the registry; what it asks of the disk is which model files are there. The rules in `rules/`
ask here, and `workflow_run` of the run itself. What touches Snakemake's own objects stays in `rules/common.smk`; Snakemake is not
imported.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from audiorestorer import installed, resources
from audiorestorer.chain import CHAIN, FINISHED, SPEECH_TASKS, ChainStage
from audiorestorer.config import Config
from audiorestorer.digest import code_digest, constant_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.intake import pairs
from audiorestorer.licences import WORDS
from audiorestorer.manifest import shard_range
from audiorestorer.metrics.context import EMBEDDED_RECOGNISER
from audiorestorer.models import fetching
from audiorestorer.models import registry as model_registry
from audiorestorer.places import in_clone
from audiorestorer.resources import Cost

INGEST_KEYS = ("input", "references", "transcripts", "pattern", "exclude", "alias_separator", "shards", "ingest")
TRAINING_FILES = ("train", "train_pilot", "ablation", "enhancer")  # of rules


def _with_a_fusion_that_fits(cfg: Config, registry: model_registry.Registry) -> tuple[Config, list[str]]:
    """The configuration, with method `average` where the network of method `learned` was trained for other separators, and what the
    user should know of it.

    Raises:
        AudioRestorerError: the network is not in the registry, or has another task.
    """
    name, models = cfg.fuse.model, [separator.model for separator in cfg.separators]
    notes: list[str] = []
    if cfg.fuse.method != "learned":
        return cfg, notes
    is_default = name == type(cfg.fuse).model_fields["model"].default
    if name in registry.models or not is_default:  # a registry of one's own need not have the default's
        registry.check_task(name, ("fuse",), "config: fuse.model")
        sources = registry.get(name).fuses
        if sorted(sources) == sorted(models):
            return cfg, notes
        if len(models) > 1:
            notes = [f"fuse: {name} was trained for {', '.join(sources)}: the estimates are averaged"]
    return cfg.model_copy(update={"fuse": cfg.fuse.model_copy(update={"method": "average"})}), notes


class Workflow:
    """One run's configuration and registry, and what follows from them for the rules.

    Attributes:
        stages: the stages of the chain that are on, in their order.
        evaluation_models: the registry's models that the metrics run, by the option of the command.
        notes: what the user should know before the run.
        artifacts, store: folders.

    Raises:
        AudioRestorerError: a model or a recogniser that the registry does not have or that has another task.
    """

    def __init__(self, cfg: Config, registry: model_registry.Registry, chain: Sequence[ChainStage] = CHAIN) -> None:
        self.cfg, self.notes = _with_a_fusion_that_fits(cfg, registry)
        self.registry, self.chain = registry, chain
        self.artifacts = cfg.artifacts.rstrip("/")
        self.store = os.path.normpath(cfg.store or f"{self.artifacts}/store")
        self.delivery = f"{self.artifacts}/delivery/{cfg.deliver.name}.sha256"
        self.ledger = f"{self.artifacts}/published"
        self.separators = {separator.name: separator for separator in cfg.separators}
        self.stages = [stage for stage in chain if self.is_on(stage)]
        self._check_models()
        forbidden = [name for name in self.networks() if registry.get(name).commercial_use == "forbidden"]
        if forbidden:
            self.notes.append(f"{WORDS['forbidden']}, by the licence of the weights of {', '.join(forbidden)}")

    # The chain

    def settings_of(self, stage: ChainStage) -> Any:
        return getattr(self.cfg, stage.section_name) if stage.section_name else None

    def is_on(self, stage: ChainStage) -> bool:
        """Whether a stage takes part: its section does not say `enabled: false`, and it has something to do."""
        settings = self.settings_of(stage)
        return bool(getattr(settings, "enabled", True)) and not stage.is_idle(settings)

    def stage(self, name: str) -> ChainStage:
        return next(stage for stage in self.chain if stage.name == name)

    @property
    def looped(self) -> list[ChainStage]:
        """The stages whose rules are made from the chain."""
        return [stage for stage in self.stages if not stage.has_own_rule]

    def folders_of(self, stage: ChainStage) -> list[str]:
        """The folders of manifests that a stage writes: its name, of `separate` one for each separator."""
        if stage.name == "separate":
            return [f"separate/{name}" for name in self.separators]
        return [stage.name]

    def inputs_of(self, stage: ChainStage) -> list[str]:
        """The patterns of the manifests that a stage reads: those of the stage before it that is on."""
        before = self.stages[self.stages.index(stage) - 1]
        return [self.manifest(folder) for folder in self.folders_of(before)]

    def intermediates(self) -> list[str]:
        """The patterns of the manifests whose files go where intermediates are not kept."""
        names = [stage.name for stage in self.stages]
        between = self.stages[names.index("ingest") + 1 : names.index(FINISHED)]
        return [self.manifest(folder) for stage in between for folder in self.folders_of(stage)]

    def priority(self, stage: ChainStage) -> int:
        """Later stages first: shards are finished one by one, so that results come early and intermediates can go."""
        return max(0, self.chain.index(stage) - 1)

    def models_of(self, stage: ChainStage) -> dict[str, str]:
        """The registry's models that a stage runs, by the option of its command."""
        settings = self.settings_of(stage)
        recogniser = self.recogniser_of(settings, stage.judges_words(settings)) if settings else None
        models: dict[str, str | None] = {"recogniser": recogniser}
        if stage.runs_network:
            models["model"] = settings.model
        if settings and (not stage.runs_network or stage.helper in self._helpers(settings.model)):
            models[stage.helper] = stage.helper_of(settings)
        return {option: name for option, name in models.items() if name}

    def _helpers(self, model: str) -> tuple[str, ...]:
        """The options of further models that the kind of a model takes."""
        return constant_of(f"separators.{self.registry.get(model).kind}", "HELPERS")

    def enhancer_models(self) -> dict[str, str]:
        """The enhancer of the settings and, of a kind that uses one, its denoiser (`own`); whether the stage is on or not."""
        name = self.cfg.enhance.model
        if name not in self.registry.models:  # a registry of one's own need not have the default's
            return {"model": name}
        models = self.models_of(self.stage("enhance"))
        return {"model": models["model"], **({"own": models["denoiser"]} if "denoiser" in models else {})}

    def network_options(self, stage: ChainStage) -> Callable[..., list[str]]:
        """A rule's `params` function: the models, the device and the threads, as options of a stage's command."""

        def options(wildcards: Any, input: Any, threads: int) -> list[str]:
            models = [f"--{option}={path}" for option, path in input.items() if option != "manifests"]
            if stage.runs_network:
                return [*models, f"--device={self.cfg.device}", f"--threads={threads}"]
            separators = [f"--estimate-of={separator.model}" for separator in self.cfg.separators]
            return [*models, f"--threads={threads}", *separators] if models else []

        return options

    def code_of(self, stage: ChainStage) -> str:
        """The digest of the code that a job of a stage runs: the stage's, its network's kind's and its recogniser's."""
        modules = [f"stages.{stage.name}"]
        models = self.models_of(stage)
        if stage.runs_network:
            names = [models[option] for option in ("model", stage.helper) if option in models]
            modules += [f"separators.{self.registry.get(name).kind}" for name in dict.fromkeys(names)]
        if stage.judges_words(self.settings_of(stage)):
            modules.append(self.recogniser_module(models.get("recogniser")))
        return code_digest(*modules)

    def cost_of(self, stage: ChainStage) -> Cost:
        model = self.models_of(stage).get("model")
        return self.model_cost(model) if model else stage.cost or Cost(100)

    def report_settings(self) -> dict[str, Any]:
        """The sections that the report shows. Of an optional stage that is off it says that alone."""
        sections: dict[str, Any] = {}
        values = self.cfg.model_dump(mode="json")
        for stage in self.chain:
            if name := stage.section_name:
                sections[name] = values[name] if stage in self.stages else {"enabled": False}
        return {**sections, "snippets": values["snippets"]}

    # Files

    def manifest(self, folder: str) -> str:
        """The path pattern of a stage's manifests."""
        return f"{self.artifacts}/manifests/{folder}/{{shard}}.jsonl"

    @staticmethod
    def all_manifests(folder: str, shards: Iterable[str]) -> str:
        """The manifests of all shards in a folder, as a command takes them."""
        return f"{folder}/{shard_range(map(int, shards))}.jsonl"

    def log_of(self, folder: str) -> str:
        return f"{self.artifacts}/logs/{folder}/{{shard}}.log"

    def model_json(self, name: str) -> str:
        return f"{self.artifacts}/models/{name}.json"

    def weights_of(self, name: str) -> list[str]:
        """The files of a model that come from elsewhere, in the folder where they are used from."""
        files = fetching.missing(name, self.registry, self.models_folders[1:])
        return [f"{self.artifacts}/models/{name}/{file.name}" for file in files]

    @property
    def models_folders(self) -> list[str]:
        """Where fetched models may lie: this run's folder, and the one that somebody filled."""
        return [f"{self.artifacts}/models", *([self.cfg.models_dir] if self.cfg.models_dir else [])]

    # Parameters

    def section_json(self, name: str) -> str:
        """One section of the configuration as inline JSON: a rule gets only its own."""
        text: str = getattr(self.cfg, name).model_dump_json()
        return text

    def ingest_json(self) -> str:
        """What ingest depends on, and nothing else."""
        values = {key: value for key, value in self.cfg.model_dump(mode="json").items() if key in INGEST_KEYS}
        return json.dumps({**values, "loudness": {"format": self.cfg.loudness.format}})

    def clean_speech(self) -> str:
        """The folder of clean recordings that the enhancer is measured on.

        Raises:
            AudioRestorerError: there is none.
        """
        folder, _ = pairs.companions(self.cfg)
        if folder is None:
            raise AudioRestorerError("enhancer_quality needs clean recordings: set references to their folder")
        return str(folder)

    # Models

    def _check_models(self) -> None:
        """An unknown name ends the run here, not in the middle of it."""
        uses: list[tuple[str, Any, Sequence[str]]] = [
            (f"separators.{index}", separator, SPEECH_TASKS) for index, separator in enumerate(self.cfg.separators)
        ]
        uses += [(stage.section_name, self.settings_of(stage), stage.tasks) for stage in self._networks()]
        for section, settings, tasks in uses:
            where = f"config: {section}"
            self.registry.check_task(settings.model, tasks, f"{where}.model")
            self.registry.check_segment(settings.model, getattr(settings, "segment_sec", None), where)
        for stage in self.looped:
            models = self.models_of(stage)
            if stage.helper != "model" and stage.helper in models:
                self.registry.check_task(
                    models[stage.helper], SPEECH_TASKS, f"config: {stage.section_name}.{stage.helper}"
                )
        self.evaluation_models = self._evaluation_models()

    def _networks(self) -> list[ChainStage]:
        return [stage for stage in self.looped if stage.runs_network]

    def networks(self) -> list[str]:
        """The models that the chain runs, each once."""
        names = [separator.model for separator in self.cfg.separators]
        for stage in self.looped:
            names += [name for option, name in self.models_of(stage).items() if option in ("model", stage.helper)]
        return list(dict.fromkeys(names))

    def check_installed(self, rule_files: Iterable[tuple[str, str]]) -> None:
        """Refuse a run that would end at a package that is not installed, before its first job.

        Args:
            rule_files: (rule, the file that holds it) of the jobs to be run.

        Raises:
            AudioRestorerError: names what needs which package, and the command that installs it.
        """
        rules = {(rule, Path(file).stem) for rule, file in rule_files}
        for rule, file in sorted(rules):
            if file == "train_pilot" and not in_clone():
                raise AudioRestorerError(
                    f"the rule {rule} needs a clone of AudioRestorer: its scripts make the training audio"
                )
            if file in TRAINING_FILES:
                installed.check(installed.TRAINING, f"the rule {rule}")
            elif rule == "analysis":
                installed.check(installed.NOTEBOOK, f"the rule {rule}")
        if any(rule in ("separate", *(stage.name for stage in self._networks())) for rule, _ in rules):
            for settings in (*self.cfg.separators, *(self.settings_of(stage) for stage in self._networks())):
                kind = f"separators.{self.registry.get(settings.model).kind}"
                in_torch = getattr(settings, "backend", None) == "torch" or self.cfg.device.startswith("cuda")
                packages = {*constant_of(kind, "PACKAGES"), *(["torch"] if in_torch else [])}
                installed.check(sorted(packages), f"the model {settings.model}")
        if any(rule == "evaluate" for rule, _ in rules) and (name := self.evaluation_models.get("recogniser")):
            from audiorestorer.metrics import recognisers

            package = recognisers.PACKAGES.get(self.registry.get(name).kind, "numpy")
            installed.check(
                [package], f"the recogniser {name}", recognisers.SETUPS.get(package, installed.SETUP_MODELS)
            )

    def recogniser_of(self, settings: Any, is_used: bool) -> str | None:
        """The registry's recogniser that a section needs; None: the built-in one, or none.

        Raises:
            AudioRestorerError: the registry does not have it.
        """
        if not is_used or settings.recogniser == EMBEDDED_RECOGNISER:
            return None
        self.registry.check_task(settings.recogniser, ("recognise",), "config: recogniser")
        name: str = settings.recogniser
        return name

    def recogniser_module(self, name: str | None) -> str:
        return f"metrics.recognisers.{self.registry.get(name).kind if name else EMBEDDED_RECOGNISER}"

    def _evaluation_models(self) -> dict[str, str]:
        """The registry's models that the metrics run, by the option of the command."""
        evaluate = self.cfg.evaluate
        models = {"recogniser": self.recogniser_of(evaluate, "wer" in evaluate.metrics), "tagger": self._tagger()}
        return {option: name for option, name in models.items() if name}

    def evaluation_code(self) -> str:
        modules = [f"metrics.groups.{group}" for group in self.cfg.evaluate.metrics]
        return code_digest(
            "stages.evaluate", *modules, self.recogniser_module(self.evaluation_models.get("recogniser"))
        )

    def _tagger(self) -> str | None:
        """The registry's tagger, if its weights are on this machine: they are never fetched unasked."""
        name = self.cfg.evaluate.tagger
        if name is None or "panns" not in self.cfg.evaluate.metrics or name not in self.registry.models:
            return None
        is_here = os.path.exists(self.model_json(name)) or fetching.present(name, self.registry, self.models_folders)
        return name if is_here else None

    def sentences_file(self) -> str | None:
        """What the batch's language model is made of: the configured text, else the batch's transcripts; None: it is not used."""
        evaluate = self.cfg.evaluate
        if "wer" not in evaluate.metrics or "recogniser" in self.evaluation_models:
            return None
        if evaluate.language_model == "general":
            return None
        transcripts = evaluate.sentences or pairs.companions(self.cfg)[1]
        return str(transcripts) if transcripts else None

    # Resources

    def gpus(self, *, is_remote: bool) -> int:
        """How many GPUs a network's job takes: 1, or 0 where the configuration asks for none, or leaves it open and there is none.

        Args:
            is_remote: the jobs run on a cluster; the machine that plans them may have no GPU to look at.
        """
        device = self.cfg.device
        has_one = is_remote or shutil.which("nvidia-smi") is not None
        return int(device.startswith("cuda") or (device == "auto" and has_one))

    def needs(self, cost_of: Cost | Callable[[Any], Cost], *, processes: int = 1) -> dict[str, Callable[..., int]]:
        """`mem_mb` and `runtime` of a shard's job, for `resources:`. Snakemake asks again when the job is ready, so that what ingest
        read counts, and at each attempt.

        Args:
            cost_of: a cost, or wildcards -> cost.
            processes: how many the job has at most, each with the memory of the cost.
        """

        def cost(wildcards: Any) -> Cost:
            return cost_of if isinstance(cost_of, Cost) else cost_of(wildcards)

        def minutes(wildcards: Any, threads: int, attempt: int) -> int:
            load = resources.load_of(self.manifest("ingest").format(shard=wildcards.shard))
            return cost(wildcards).ask_minutes(load, threads, attempt)

        def megabytes(wildcards: Any, threads: int, attempt: int) -> int:
            return cost(wildcards).ask_mb(attempt, min(threads, processes))

        return {"mem_mb": megabytes, "runtime": minutes}

    def model_cost(self, name: str, *, whole_bag: bool = False) -> Cost:
        entry = self.registry.get(name)
        return resources.of_model(entry.kind, entry.source, whole_bag=whole_bag)

    def separator_cost(self, name: str) -> Cost:
        separator = self.separators[name]
        return self.model_cost(separator.model, whole_bag=separator.accompaniment == "stems")

    def separator_code(self, name: str) -> str:
        return code_digest("stages.separate", f"separators.{self.registry.get(self.separators[name].model).kind}")
