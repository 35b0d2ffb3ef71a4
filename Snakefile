# AudioRestorer: render a batch of recordings, and train the models that do it.
#   snakemake --cores 2                                          the pilot
#   snakemake --cores 8 --resources gpu=1 --config input=recordings output=cleaned
# This file holds the includes and the targets; the configuration is read in rules/common.smk, everything else is in audiorestorer/.

from snakemake.utils import min_version

min_version("9.0")


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/ingest.smk"
include: "rules/models.smk"
include: "rules/separate.smk"
include: "rules/clean.smk"
include: "rules/report.smk"
include: "rules/evaluate.smk"
include: "rules/deliver.smk"
include: "rules/train_pilot.smk"
include: "rules/train.smk"
include: "rules/ablation.smk"
include: "rules/enhancer.smk"


keep_digests()


onstart:
    or_stop(check_installed)
    or_stop(check_reachable)
    or_stop(RUN.lock)
    say_notes()
    start_job_server()
    watch_progress()


onsuccess:
    RUN.stop_watching()
    RUN.stop_job_server()
    say_what_stayed()


onerror:
    RUN.stop_watching()
    RUN.stop_job_server()


rule all:
    default_target: IS_TARGET
    input:
        metrics=METRICS,
        published=expand(manifest("publish"), shard=SHARDS),
        tidied=OUTPUT_STATE,
        results=REPORT_FILES.values(),
        strict=[f"{ART}/eval/strict.txt"] if CFG.strict else [],


rule metrics:
    input:
        METRICS,


rule deliver:
    input:
        DELIVERY,
