# Needs: the configuration. Makes: what every other file here uses (names, shards, parameters, digests).

import fcntl
import json
import os
import shutil
import sys

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)
os.environ.update(
    PYTHONPATH=os.pathsep.join(filter(None, [workflow.basedir, os.environ.get("PYTHONPATH")])),
    # `python` of a job is the one that runs snakemake; a conda environment, where asked for, comes before it
    PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]),
)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning OpenMP barriers cost a factor of ten on shared cores

from audiorestorer import config as settings
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import registry as model_registry
from audiorestorer.stages import ingest as ingest_stage
from audiorestorer.store import sha256_file


def or_stop(function, *args):
    """Call; what the user can mend ends the run with its message and without a traceback."""
    try:
        return function(*args)
    except AudioRestorerError as error:
        raise WorkflowError(str(error)) from None


def located(path):
    """A relative path that the working folder lacks is looked up beside the Snakefile (`snakemake --directory`)."""
    beside = os.path.join(workflow.basedir, path)
    return beside if not os.path.exists(path) and os.path.exists(beside) else path


CFG = or_stop(settings.validate, settings.Config, dict(config), "config")
CFG = CFG.model_copy(update={"input": located(CFG.input), "registry": located(CFG.registry)})
ART = CFG.artifacts.rstrip("/")
STORE = f"{ART}/store"
METRICS = [f"{ART}/eval/metrics.json", f"{ART}/eval/metrics.csv"]
REGISTRY = or_stop(model_registry.load, CFG.registry)
SEPARATORS = {separator.name: separator for separator in CFG.separators}
MODELS = list(dict.fromkeys([s.model for s in CFG.separators] + ([CFG.denoise.model] if CFG.denoise.model else [])))
for model in MODELS:
    or_stop(REGISTRY.get, model)  # an unknown name ends the run here, not in the middle of it
LISTING = {str(shard): digest for shard, digest in or_stop(ingest_stage.listing_digest, CFG).items()}
SHARDS = list(LISTING)
NETWORK_THREADS = 4
# Later stages have the higher `priority`: shards are finished one by one, so results come early and intermediates can go
USE_GPU = int(CFG.device.startswith("cuda") or (CFG.device == "auto" and shutil.which("nvidia-smi") is not None))
INGEST_KEYS = ("input", "references", "transcripts", "pattern", "exclude", "alias_separator", "shards", "ingest")


wildcard_constraints:
    shard=r"\d+",
    separator="[A-Za-z0-9_-]+",
    model="[A-Za-z0-9_-]+",


def manifest(stage):
    """The path pattern of a stage's manifests."""
    return f"{ART}/manifests/{stage}/{{shard}}.jsonl"


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


def ingest_json():
    """What ingest depends on, and nothing else."""
    chosen = {key: value for key, value in CFG.model_dump(mode="json").items() if key in INGEST_KEYS}
    return json.dumps({**chosen, "loudness": {"format": CFG.loudness.format}})


def code(*modules):
    """A digest of the code that a job runs: Snakemake does not look into imported packages."""
    return code_digest(*modules)


def model_json(name):
    return f"{ART}/models/{name}.json"


def network_code(stage, model):
    """The code of a stage that runs a network: the stage's and that of the model's kind."""
    return code_digest(f"stages.{stage}", f"separators.{or_stop(REGISTRY.get, model).kind}")


def recogniser_of(evaluate):
    """The registry's recogniser that WER needs; None: the built-in one, or no WER. An unknown name ends the run here."""
    if "wer" not in evaluate.metrics or evaluate.recogniser == "pocketsphinx":
        return None
    or_stop(REGISTRY.get, evaluate.recogniser)
    return evaluate.recogniser


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
    return CFG.evaluate.sentences or ingest_stage.companions(CFG)[1]


def lock_artifacts():
    """Refuse a second run on the same folder. The kernel drops this lock when the process dies, kill -9 included, so no `--unlock`."""
    os.makedirs(ART, exist_ok=True)
    globals()["_lock_file"] = open(f"{ART}/.lock", "w")
    try:
        fcntl.flock(_lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise WorkflowError(f"another run is working in {ART}: wait for it, or give this one --config artifacts=DIR")


def absent_outputs(shard):
    """How many of a shard's published files are gone (a deleted output folder must not stay "nothing to be done")."""
    path = manifest("publish").format(shard=shard)
    if not os.path.exists(path):
        return 0
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return sum(row["status"] == "ok" and not os.path.exists(row["published"]) for row in rows)


RECOGNISER = recogniser_of(CFG.evaluate)
TAGGER = tagger_of(CFG.evaluate)
EVALUATION_MODELS = [name for name in (RECOGNISER, TAGGER) if name]
EVALUATION_MODULES = [
    *(f"metrics.group_{group}" for group in CFG.evaluate.metrics),
    f"metrics.recognisers.{REGISTRY.get(RECOGNISER).kind if RECOGNISER else 'pocketsphinx'}",
]
