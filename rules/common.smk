# Needs: the configuration. Makes: what every other file here uses (names, shards, parameters, digests).

import fcntl
import json
import os
import shutil
import sys

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

# The workflow's own folder, also where another workflow uses this one as a module: `workflow.basedir` is the other one's then.
ROOT = os.path.dirname(workflow.current_basedir.get_path_or_uri(secret_free=True))
AS_MODULE = not workflow.modifier.is_main_snakefile()
IS_TARGET = not AS_MODULE or workflow.default_target is None  # another workflow's own first rule stays its target
if not os.path.isdir(os.path.join(ROOT, "audiorestorer")):
    raise WorkflowError(f"{ROOT}: not a clone of AudioRestorer: clone its repository, and give the clone's Snakefile")
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)
# For rules/python.sh, by which a job runs Python: these names are ours alone, so that the commands of another workflow that uses this one
# keep their environment. `python` is the one beside the interpreter that runs snakemake, or, where asked for, a conda environment's.
BESIDE = os.path.join(os.path.dirname(sys.executable), "python")
USES_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
os.environ.update(
    AUDIORESTORER_PYTHON=os.path.join(ROOT, "rules", "python.sh"),
    AUDIORESTORER_EXECUTABLE="python" if USES_CONDA else BESIDE if os.path.exists(BESIDE) else sys.executable,
)

from audiorestorer import config as settings
from audiorestorer import folders
from audiorestorer import progress
from audiorestorer import resources as needed
from audiorestorer import store as item_store
from audiorestorer.checking import section
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.intake import listing as input_listing
from audiorestorer.intake import pairs
from audiorestorer.manifest import read_manifest, shard_range
from audiorestorer.models import registry as model_registry
from audiorestorer.store import sha256_file


def or_stop(function, *args):
    """Call; what the user can mend ends the run with its message and without a traceback."""
    try:
        return function(*args)
    except AudioRestorerError as error:
        raise WorkflowError(str(error)) from None


def texts(value):
    """All texts in a configuration, in lists and sections too."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return {value} if isinstance(value, str) else set().union(*map(texts, inner))


def located(path):
    """A relative path that the working folder lacks is looked up beside the Snakefile (`snakemake --directory`). What another workflow
    that uses this one did not name is this one's own, whatever the other one has of that name."""
    beside = os.path.join(ROOT, path)
    own = AS_MODULE and path not in NAMED
    return beside if os.path.exists(beside) and (own or not os.path.exists(path)) else path


DEFAULTS = os.path.join(ROOT, "config", "config.yaml")
NAMED = texts(config or workflow.config_settings.overwrite_config)


def checked_file(path):
    """Snakemake's own reader lets a repeated key pass, and ends with a traceback at what is not UTF-8, or a folder."""
    found = settings.read_yaml(path)
    if not isinstance(found, dict) or not found:
        raise AudioRestorerError(
            f"{path}: settings are needed, one `key: value` a line (`audiorestorer config` writes all)"
        )


def asked(values):
    """The settings that this run was asked for: a module without `config:` gets all of the other workflow's command line from Snakemake."""
    if AS_MODULE and not workflow.modifier.skip_configfile:
        return {key: value for key, value in values.items() if key in settings.Config.model_fields}
    return dict(values)


for configfile_path in [DEFAULTS] + ([] if AS_MODULE else list(workflow.configfiles)):
    if os.path.lexists(configfile_path):  # without its file of defaults it goes by config.py's
        or_stop(checked_file, configfile_path)


configfile: DEFAULTS


CFG = or_stop(settings.validate, settings.Config, asked(config), "config")
CFG = CFG.model_copy(update={"input": located(CFG.input), "registry": located(CFG.registry)})
or_stop(folders.keep_run_apart, CFG, *or_stop(pairs.companions, CFG))
ART = CFG.artifacts.rstrip("/")
if workflow.modifier.path_modifier.replace_prefix(f"{ART}/x") != f"{ART}/x":
    raise WorkflowError(
        "AudioRestorer takes no `prefix` or `replace_prefix` of a module: set `artifacts` and `output` in its `config:`"
    )
PROGRESS_SEC = or_stop(progress.every_sec, os.environ)
STORE = os.path.normpath(CFG.store or f"{ART}/store")
DELIVERY = f"{ART}/delivery/{CFG.deliver.name}.sha256"
LEDGER = f"{ART}/published"
LEFT_OUT = f"{ART}/eval/left_out.json"
METRICS = [f"{ART}/eval/metrics.json", f"{ART}/eval/metrics.csv"]
REGISTRY = or_stop(model_registry.load, CFG.registry)
SEPARATORS = {separator.name: separator for separator in CFG.separators}
MODELS = [separator.model for separator in CFG.separators] + ([CFG.denoise.model] if CFG.denoise.model else [])
MODELS = list(dict.fromkeys(MODELS + ([CFG.enhance.model] if CFG.enhance.enabled else [])))
MASKS = ("denoise", "separate")  # networks of either task give speech: each can stand in the other's place
for index, separator in enumerate(CFG.separators):  # an unknown name ends the run here, not in the middle of it
    or_stop(REGISTRY.check_task, separator.model, MASKS, f"config: separators.{index}.model")
    or_stop(REGISTRY.check_segment, separator.model, separator.segment_sec, f"config: separators.{index}")
if CFG.denoise.model:
    or_stop(REGISTRY.check_task, CFG.denoise.model, MASKS, "config: denoise.model")
    or_stop(REGISTRY.check_segment, CFG.denoise.model, CFG.denoise.segment_sec, "config: denoise")
if CFG.enhance.enabled:
    or_stop(REGISTRY.check_task, CFG.enhance.model, ("enhance",), "config: enhance.model")
BATCH = or_stop(input_listing.batch, CFG)
LISTING = {str(shard): found for shard, found in BATCH.shards(CFG.shards).items()}
SHARDS = list(LISTING)
NETWORK_THREADS = 4
# With --cache, folders share what is the same for every batch
CACHING = "SNAKEMAKE_OUTPUT_CACHE" in os.environ
# Later stages have the higher `priority`: shards are finished one by one, so results come early and intermediates can go
USE_GPU = int(CFG.device.startswith("cuda") or (CFG.device == "auto" and shutil.which("nvidia-smi") is not None))
INGEST_KEYS = ("input", "references", "transcripts", "pattern", "exclude", "alias_separator", "shards", "ingest")


wildcard_constraints:
    shard=r"\d+",
    separator="[A-Za-z0-9_-]+",
    model="[A-Za-z0-9_-]+",
    weights=model_registry.FILE_PATTERN.strip("^$"),


def experiment_rate(path):
    """The sample rate that an experiment file asks for. The file as a whole is checked by the training that uses it."""
    path = located(path)
    return or_stop(section, or_stop(settings.read_yaml, path), "network", path).get("sample_rate", 22050)


def manifest(stage):
    """The path pattern of a stage's manifests."""
    return f"{ART}/manifests/{stage}/{{shard}}.jsonl"


def all_manifests(stage):
    """A stage's manifests of all shards, as a command takes them."""
    return manifest(stage).format(shard=shard_range(map(int, SHARDS)))


def log_of(stage):
    return f"{ART}/logs/{stage}/{{shard}}.log"


def made(stage):
    """A stage's declared output: never empty, and gone after its last use where intermediates are not kept."""
    path = ensure(manifest(stage), non_empty=True)
    return path if CFG.keep_intermediates else temp(path)


def cfg_json(section):
    """One section of the configuration as inline JSON: a rule gets only its own."""
    return getattr(CFG, section).model_dump_json()


def as_is(value):
    """A param from the user: Snakemake would look for wildcards in a string, and a folder may be named `{shard}`."""
    return lambda wildcards: value


def clean_speech(wildcards):
    """The folder of clean recordings that the enhancer is measured on."""
    folder, _ = or_stop(pairs.companions, CFG)
    if folder is None:
        raise WorkflowError("enhancer_quality needs clean recordings: set references to their folder")
    return str(folder)


def ingest_json():
    """What ingest depends on, and nothing else."""
    chosen = {key: value for key, value in CFG.model_dump(mode="json").items() if key in INGEST_KEYS}
    return json.dumps({**chosen, "loudness": {"format": CFG.loudness.format}})


def code(*modules):
    """A digest of the code that a job runs: Snakemake does not look into imported packages."""
    return code_digest(*modules)


def model_json(name):
    return f"{ART}/models/{name}.json"


def weights_of(name):
    """The files of a model that come from elsewhere, in the folder where they are used from."""
    entry = or_stop(REGISTRY.get, name)
    return [f"{ART}/models/{name}/{file.name}" for file in entry.files] if entry.remote else []


def network_code(stage, model):
    """The code of a stage that runs a network: the stage's and that of the model's kind."""
    return code_digest(f"stages.{stage}", f"separators.{or_stop(REGISTRY.get, model).kind}")


def needs(cost_of):
    """`mem_mb` and `runtime` of a job of a shard, for `resources:`. Snakemake asks once more when the job is ready, so that what ingest
    found counts, and at each attempt. `cost_of`: wildcards -> resources.Cost, or a Cost."""
    cost = cost_of if callable(cost_of) else lambda wildcards: cost_of
    return {
        "mem_mb": lambda wildcards, attempt: cost(wildcards).ask_mb(attempt),
        "runtime": lambda wildcards, threads, attempt: cost(wildcards).ask_minutes(
            needed.load_of(manifest("ingest").format(shard=wildcards.shard)), threads, attempt
        ),
    }


def growing(mem_mb, runtime):
    """`mem_mb` and `runtime` of a job that is no shard's: twice as much at each attempt."""
    return {
        "mem_mb": lambda wildcards, attempt: mem_mb * 2 ** (attempt - 1),
        "runtime": lambda wildcards, attempt: runtime * 2 ** (attempt - 1),
    }


def model_cost(name, whole_bag=False):
    entry = or_stop(REGISTRY.get, name)
    return needed.of_model(entry.kind, entry.source, whole_bag=whole_bag)


def separator_cost(wildcards):
    separator = SEPARATORS[wildcards.separator]
    return model_cost(separator.model, whole_bag=separator.accompaniment == "stems")


def all_threads():
    """All cores of this machine's share; on a cluster, where no `--cores` says it, as many as a network gets."""
    try:
        return workflow.cores
    except WorkflowError:
        return NETWORK_THREADS


def recogniser_of(section, used):
    """The registry's recogniser that a section needs; None: the built-in one, or none. An unknown name ends the run here."""
    if not used or section.recogniser == "pocketsphinx":
        return None
    or_stop(REGISTRY.check_task, section.recogniser, ("recognise",), "config: recogniser")
    return section.recogniser


def recogniser_module(name):
    return f"metrics.recognisers.{REGISTRY.get(name).kind if name else 'pocketsphinx'}"


def tagger_of(evaluate):
    """The registry's tagger, if its weights are on this machine: they are never fetched unasked."""
    name = evaluate.tagger
    if "panns" not in evaluate.metrics or name not in REGISTRY.models:
        return None
    here = os.path.exists(model_json(name)) or model_registry.present(name, REGISTRY, f"{ART}/models")
    return name if here else None


def sentences_file():
    """What the batch's language model is made of: the configured text, else the batch's transcripts; None where it is not used."""
    if "wer" not in CFG.evaluate.metrics or RECOGNISER or CFG.evaluate.language_model == "general":
        return None
    return CFG.evaluate.sentences or pairs.companions(CFG)[1]


def lock_artifacts():
    """Refuse a second run on the same folder. The kernel drops this lock when the process dies, kill -9 included, so no `--unlock`."""
    os.makedirs(ART, exist_ok=True)
    globals()["_lock_file"] = open(f"{ART}/.lock", "a")  # nothing is written
    try:
        fcntl.flock(_lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise WorkflowError(f"another run is working in {ART}: wait for it, or give this one --config artifacts=DIR")
    if CFG.store:
        item_store.join(STORE, ART)


def publishing_round(shard):
    """A number that grows where a published file is gone (a deleted output folder must not stay "nothing to be done"), and only then: the
    job notes it, so that the next run finds the same."""
    path = manifest("publish").format(shard=shard)
    try:
        with open(f"{LEDGER}/rounds/{shard}", encoding="utf-8") as file:
            last = int(file.read())
    except (OSError, ValueError):
        last = 0
    if not os.path.exists(path):
        return last
    try:
        absent = any(row.ok and not os.path.lexists(row.published) for row in read_manifest(path))
    except AudioRestorerError:
        absent = True  # damaged: published again
    return last + absent


def absent_archives():
    """How many archives of the last delivery are gone."""
    if not os.path.exists(DELIVERY):
        return 0
    try:
        with open(DELIVERY, encoding="utf-8") as file:
            names = [line.split(maxsplit=1)[1].rstrip("\n") for line in file]
    except (ValueError, IndexError):
        return -1  # damaged: packed again
    return sum(not os.path.exists(os.path.join(os.path.dirname(DELIVERY), name)) for name in names)


def stage_jobs():
    """The jobs of this run that write a stage's manifest."""
    root = f"{ART}/manifests/"
    for job in workflow.dag.needrun_jobs():
        path = str(job.output[0]) if job.output else ""
        if path.startswith(root):
            stage = os.path.dirname(path.removeprefix(root))
            parts = 1 + len(CFG.evaluate.metrics) if stage == "evaluate" else 1
            yield progress.Job(Path(path), stage, LISTING[job.wildcards.shard].files, parts)


def watch_progress():
    """A line on the terminal every half minute; AUDIORESTORER_PROGRESS sets the seconds, 0 is silence."""
    globals()["stop_watching"] = progress.watch(stage_jobs(), PROGRESS_SEC)


RECOGNISER = recogniser_of(CFG.evaluate, "wer" in CFG.evaluate.metrics)
ENHANCE_GATE = CFG.enhance.enabled and CFG.enhance.max_wer is not None and not CFG.enhance.denoise_only
ENHANCE_RECOGNISER = recogniser_of(CFG.enhance, ENHANCE_GATE)
ENHANCE_MODULES = [recogniser_module(ENHANCE_RECOGNISER)] if ENHANCE_GATE else []
TAGGER = tagger_of(CFG.evaluate)
EVALUATION_MODELS = [name for name in (RECOGNISER, TAGGER) if name]
EVALUATION_MODULES = [
    *(f"metrics.groups.{group}" for group in CFG.evaluate.metrics),
    recogniser_module(RECOGNISER),
]
