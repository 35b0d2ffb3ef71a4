# Needs: the configuration. Makes: what every other file here uses (names, shards, parameters, digests).

import json
import os
import sys

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

# The workflow's own folder, also where another workflow uses this one as a module: `workflow.basedir` is the other one's then.
ROOT = os.path.dirname(workflow.current_basedir.get_path_or_uri(secret_free=True))
AS_MODULE = not workflow.modifier.is_main_snakefile()
IS_TARGET = not AS_MODULE or workflow.default_target is None  # another workflow's own first rule stays its target
# What holds the package: the clone, or the folder that the package is installed in, which carries the workflow.
HOUSE = ROOT if os.path.basename(ROOT) != "_workflow" else os.path.dirname(os.path.dirname(ROOT))
PACKAGE = os.path.join(HOUSE, "audiorestorer")
if not os.path.isdir(PACKAGE):
    raise WorkflowError(
        f"{ROOT}: neither a clone of AudioRestorer nor an installed one: give the Snakefile of a clone, or the one that"
        " `audiorestorer doctor` names"
    )
if HOUSE not in sys.path:
    sys.path.insert(0, HOUSE)
# For rules/python.sh, by which a job runs Python: these names are ours alone, so that the commands of another workflow that uses this one
# keep their environment. `python` is the one beside the interpreter that runs snakemake, or, where asked for, a conda environment's.
BESIDE = os.path.join(os.path.dirname(sys.executable), "python")
USES_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
if USES_CONDA and HOUSE != ROOT:
    raise WorkflowError(
        "--sdm conda needs a clone of AudioRestorer: the environments that it makes hold no installed one"
    )
EXECUTABLE = "python" if USES_CONDA else BESIDE if os.path.exists(BESIDE) else sys.executable
os.environ.update(AUDIORESTORER_PYTHON=os.path.join(ROOT, "rules", "python.sh"), AUDIORESTORER_EXECUTABLE=EXECUTABLE)

from audiorestorer import config as settings
from audiorestorer import buckets, digest, folders, job_server, progress
from audiorestorer.__main__ import command_names
from audiorestorer.chain import FINISHED, check_chain
from audiorestorer.checking import section
from audiorestorer.config_sources import check_settings_file, known_settings, texts
from audiorestorer.config_sources import located as located_in
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.intake import listing, pairs
from audiorestorer.models import fetching
from audiorestorer.models import registry as model_registry
from audiorestorer.resources import growing
from audiorestorer.store import sha256_file
from audiorestorer.workflow import Workflow
from audiorestorer.workflow_run import Run, kept_lines


def or_stop(function, *args):
    """Call; what the user can mend ends the run with its message and without a traceback."""
    try:
        return function(*args)
    except AudioRestorerError as error:
        progress.tell(os.environ, progress.State("failed", message=str(error)))
        raise WorkflowError(str(error)) from None


or_stop(check_chain, command_names())
DEFAULTS = os.path.join(ROOT, "config", "config.yaml")
NAMED = texts(config or workflow.config_settings.overwrite_config)


def located(path):
    """Where a file of the configuration lies. What another workflow that uses this one did not name is this one's own."""
    return located_in(path, ROOT, is_own=AS_MODULE and path not in NAMED)


for configfile_path in [DEFAULTS] + ([] if AS_MODULE else list(workflow.configfiles)):
    if os.path.lexists(configfile_path):  # without its file of defaults it goes by config.py's
        or_stop(check_settings_file, configfile_path)


configfile: DEFAULTS


CFG = known_settings(config) if AS_MODULE and not workflow.modifier.skip_configfile else dict(config)
CFG = or_stop(settings.validate, settings.Config, CFG, "config")
CFG = CFG.model_copy(update={"input": located(CFG.input), "registry": located(CFG.registry)})
or_stop(folders.keep_run_apart, CFG, *or_stop(pairs.companions, CFG))
BATCH = or_stop(listing.batch, CFG)
CFG = CFG.model_copy(
    update={"shards": BATCH.shard_count(CFG.shards, workflow.cores if workflow.resource_settings.cores else None)}
)
FLOW = or_stop(lambda: Workflow(CFG, model_registry.load(CFG.registry)))
RUN = Run(FLOW)
if not AS_MODULE:
    config["fuse"] = FLOW.cfg.fuse.model_dump()  # the report's text shows what is done, not what was asked for
ART, STORE, DELIVERY, LEDGER = FLOW.artifacts, FLOW.store, FLOW.delivery, FLOW.ledger
if workflow.modifier.path_modifier.replace_prefix(f"{ART}/x") != f"{ART}/x":
    raise WorkflowError(
        "AudioRestorer takes no `prefix` or `replace_prefix` of a module: set `artifacts` and `output` in its `config:`"
    )
PROGRESS_SEC = or_stop(progress.every_sec, os.environ)
TRAINING, ABLATION = f"{ART}/training", f"{ART}/ablation"
LEFT_OUT = f"{ART}/eval/left_out.json"
METRICS = [f"{ART}/eval/metrics.json", f"{ART}/eval/metrics.csv"]
LISTING = {str(shard): files for shard, files in BATCH.shards(CFG.shards).items()}
SHARDS = list(LISTING)
NETWORK_THREADS = 4
EXPERIMENTS = f"{ROOT}/config/experiments"
# With --cache, folders share what is the same for every batch
CACHING = "SNAKEMAKE_OUTPUT_CACHE" in os.environ
BUCKET = workflow.storage_registry.default_storage_provider
IN_BUCKET = BUCKET is not None
if hasattr(BUCKET, "s3c"):  # the S3 plugin's
    or_stop(buckets.check, BUCKET.s3c.meta.client, workflow.storage_settings.default_storage_prefix)
manifest, model_json = FLOW.manifest, FLOW.model_json


wildcard_constraints:
    shard=r"\d+",
    separator="[A-Za-z0-9_-]+",
    model="[A-Za-z0-9_-]+",
    weights=model_registry.FILE_PATTERN.strip("^$"),


def experiment_rate(path):
    """The sample rate that an experiment file asks for. The file as a whole is checked by the training that uses it."""
    path = located(path)
    return or_stop(section, or_stop(settings.read_yaml, path), "network", path).get("sample_rate", 22050)


def not_empty(path):
    """A declared output that must hold something. With a bucket it is left out: Snakemake asks the bucket for the size before it uploads."""
    return path if IN_BUCKET else ensure(path, non_empty=True)


def finished(stage):
    """A stage's declared output that stays."""
    return not_empty(manifest(stage))


def made(stage):
    """A stage's declared output: gone after its last use where intermediates are not kept."""
    return finished(stage) if CFG.keep_intermediates else temp(finished(stage))


def as_is(value):
    """A param from the user: Snakemake would look for wildcards in a string, and a folder may be named `{shard}`."""
    return lambda wildcards: value


def all_manifests(wildcards, input):
    """The manifests of all shards, as a command takes them; of a bucket's, the copies that Snakemake fetched."""
    return FLOW.all_manifests(os.path.dirname(input.manifests[0]), SHARDS)


def experiment(name):
    """A shipped experiment file; read when its jobs are planned, not at every start."""
    return or_stop(settings.read_yaml, f"{EXPERIMENTS}/{name}.yaml")


def all_threads():
    """All cores of this machine's share; on a cluster, where no `--cores` says it, as many as a network gets."""
    try:
        return workflow.cores
    except WorkflowError:
        return NETWORK_THREADS


def gpus(wildcards):
    """For `resources:` of a job that runs a network; asked when the jobs are planned, since only then the executor is known."""
    return FLOW.gpus(is_remote=workflow.non_local_exec)


def keep_digests():
    """Digests of the code take seconds to make; they are kept beside the bytecode, or in the user's cache."""
    if not sys.dont_write_bytecode:
        digest.keep()


def own_jobs():
    """The run's jobs that are this workflow's, each with its name here; another workflow may give it a name of its own."""
    names = {proxy.rule: name for name, proxy in rules._rules.items()}
    return [(names[job.rule], job) for job in workflow.dag.needrun_jobs() if job.rule in names]


def check_installed():
    """Every package that the run's jobs need is there; where jobs bring an environment of their own it is not this one's concern."""
    if not USES_CONDA:
        FLOW.check_installed((name, str(job.rule.snakefile)) for name, job in own_jobs())


def check_reachable():
    """What this machine has to fetch for the run can be fetched. Where jobs run elsewhere, their machines may reach more or less, and
    Snakemake's cache may hold what is missing here."""
    if not (workflow.non_local_exec or CACHING):
        wanted = {}
        for name, job in own_jobs():
            if name == "fetch_weights":
                wanted.setdefault(job.wildcards.model, []).append(job.wildcards.weights)
        if CFG.models_dir and not os.path.isdir(CFG.models_dir):
            raise AudioRestorerError(f"models_dir: {CFG.models_dir}: no such folder")
        if wanted:
            fetching.check_reachable(wanted, FLOW.registry, f"{ART}/models", CFG.models_dir)


def say_notes():
    for note in FLOW.notes:
        logger.warning(note)


def start_job_server():
    """Where jobs are processes of this machine with this environment, they are forked from one that has imported what they need."""
    if not (USES_CONDA or workflow.non_local_exec):
        RUN.stop_job_server = job_server.start(EXECUTABLE)


def watch_progress():
    """A line on the terminal every half minute; AUDIORESTORER_PROGRESS sets the seconds, 0 is silence."""
    jobs = [job for _, job in own_jobs() if job.output]
    written = [(str(job.output[0]), job.wildcards.get("shard", "")) for job in jobs]
    RUN.watch(written, {shard: files.files for shard, files in LISTING.items()}, PROGRESS_SEC)


def say_what_stayed():
    for line in kept_lines(OUTPUT_STATE):
        print(line, file=sys.stderr)
