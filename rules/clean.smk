# Needs: the separators' stems. Makes: fused speech, denoised, post-masked, where asked for enhanced, and brought to its loudness: one
# manifest per stage and shard. The stages and their order stand in audiorestorer/chain.py; each that is on becomes a rule of its name.
# Snakemake reads `shell` when the job runs, and STAGE is the last stage by then: what differs between the stages goes through `params`.

for STAGE in FLOW.looped:

    rule:
        name:
            STAGE.name
        input:
            **{option: model_json(name) for option, name in FLOW.models_of(STAGE).items()},
            manifests=FLOW.inputs_of(STAGE),
        output:
            manifest=finished(STAGE.name) if STAGE.name == FINISHED else made(STAGE.name),
        log:
            FLOW.log_of(STAGE.name),
        priority: FLOW.priority(STAGE)
        conda:
            "../envs/audiorestorer.yaml"
        threads: NETWORK_THREADS if "model" in FLOW.models_of(STAGE) else 1
        resources:
            **FLOW.needs(FLOW.cost_of(STAGE)),
            gpu=gpus if STAGE.runs_network else 0,
        params:
            store=STORE,
            command=STAGE.name,
            cfg=as_is(FLOW.section_json(STAGE.section_name)),
            code=FLOW.code_of(STAGE),
            options=FLOW.network_options(STAGE),
        shell:
            'sh "$AUDIORESTORER_PYTHON" -m audiorestorer {params.command:q} {input.manifests:q} {output.manifest:q} --config {params.cfg:q}'
            " --store {params.store:q} {params.options:q} 2>&1 | tee {log:q}"
