# Needs: metrics.json, the finished files' manifests, the fetched models' records.
# Makes: A/B snippets of a few files (never of the whole batch), and in report/ the results table, the listening pages, the figures and
# summary.md, marked for `snakemake --report`. Snakemake's report.html cannot show an HTML page above about 1.5 MB (Chromium leaves a frame
# empty whose data: address is above 2 MiB): the pages that are marked stay below; listening.html holds all snippets and is not marked.
# Every marked file of every rule has one label, `view`: where two values of a second label divide a category in halves, Snakemake 9.27 makes
# a switch of it, looks for each file under both values, and blanks the report because there is none.

TEMPLATES = [
    f"{PACKAGE}/report/templates/{name}"
    for name in (
        "listening.html.j2",
        "listening_cards.html.j2",
        "listening.css",
        "listening.js",
        "results.html.j2",
        "blind.html.j2",
        "blind.js",
        "details.html.j2",
    )
]
REPORT_FILES = {
    "results": f"{ART}/report/results.html",
    "listening": f"{ART}/report/listening.html",
    "blind": f"{ART}/report/blind.html",
    "worst": f"{ART}/report/listening-worst.html",
    "best": f"{ART}/report/listening-best.html",
    "sample": f"{ART}/report/listening-sample.html",
    "overview": f"{ART}/report/figures/overview.png",
    "distributions": f"{ART}/report/figures/distributions.png",
    "worst_files": f"{ART}/report/figures/worst.png",
    "summary": f"{ART}/report/summary.md",
    "details": f"{ART}/report/details.html",
    "runtime": f"{ART}/report/runtime.html",
}


rule snippets:
    input:
        metrics=METRICS[0],
        manifests=expand(manifest("loudness"), shard=SHARDS),
    output:
        json=f"{ART}/eval/snippets.json",
    log:
        f"{ART}/logs/snippets.log",
    conda:
        "../envs/audiorestorer.yaml"
    threads: NETWORK_THREADS
    params:
        cfg=FLOW.section_json("snippets"),
        folder=as_is(f"{ART}/eval/snippets"),  # not beside the output, which with a bucket is a copy on one node
        manifests=all_manifests,
        code=code_digest("stages.batch.snippets"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer snippets {input.metrics:q} {output.json:q} --manifest {params.manifests:q}'
        " --folder {params.folder:q} --config {params.cfg:q} --threads {threads} 2>&1 | tee {log:q}"


rule report:
    input:
        metrics=METRICS[0],
        snippets=f"{ART}/eval/snippets.json",
        models=[model_json(name) for name in [*FLOW.networks(), *FLOW.evaluation_models.values()]],
    output:
        results=report(
            REPORT_FILES["results"],
            caption="../report/captions/results.rst",
            category="Results",
            labels={"view": "table of all files"},
        ),
        listening=REPORT_FILES["listening"],
        blind=REPORT_FILES["blind"],
        worst=report(
            REPORT_FILES["worst"],
            caption="../report/captions/listening.rst",
            category="Listening",
            labels={"view": "files that gained least"},
        ),
        best=report(
            REPORT_FILES["best"],
            caption="../report/captions/listening.rst",
            category="Listening",
            labels={"view": "files that gained most"},
        ),
        sample=report(
            REPORT_FILES["sample"],
            caption="../report/captions/listening.rst",
            category="Listening",
            labels={"view": "files drawn at random"},
        ),
        overview=report(
            REPORT_FILES["overview"],
            caption="../report/captions/overview.rst",
            category="Results",
            labels={"view": "SI-SDR before and after (figure)"},
        ),
        distributions=report(
            REPORT_FILES["distributions"],
            caption="../report/captions/distributions.rst",
            category="Results",
            labels={"view": "all metrics before and after (figure)"},
        ),
        worst_files=report(
            REPORT_FILES["worst_files"],
            caption="../report/captions/worst.rst",
            category="Results",
            labels={"view": "the ten files that gained least (figure)"},
        ),
        summary=report(
            REPORT_FILES["summary"],
            caption="../report/captions/summary.rst",
            category="Summary",
            labels={"view": "summary, settings, models, versions (Markdown to download)"},
        ),
        details=report(
            REPORT_FILES["details"],
            caption="../report/captions/details.rst",
            category="Results",
            labels={"view": "masks and loudness over time"},
        ),
        runtime=report(
            REPORT_FILES["runtime"],
            caption="../report/captions/runtime.rst",
            category="Summary",
            labels={"view": "run time by stage and model"},
        ),
    log:
        f"{ART}/logs/report.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output[0]),
        cfg=as_is(json.dumps(FLOW.report_settings())),
        models=lambda wildcards, input: [f"--model={path}" for path in input.models],
        manifests=f"{ART}/manifests",
        code=code_digest("stages.batch.report"),
        templates=[sha256_file(path) for path in TEMPLATES],
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer report {input.metrics:q} {params.folder:q} --snippets {input.snippets:q}'
        " --config {params.cfg:q} {params.models:q} --manifests {params.manifests:q} 2>&1 | tee {log:q}"


# Not part of `all`: a Jupyter kernel takes seconds to start. `make pilot` asks for it.
rule analysis:
    input:
        notebook=f"{ROOT}/notebooks/pilot_analysis.ipynb",
        notes=f"{ROOT}/report/demucs_notes.md",
        metrics=METRICS[0],
    output:
        notebook=f"{ART}/report/analysis.ipynb",
        html=report(
            f"{ART}/report/analysis.html",
            caption="../report/captions/analysis.rst",
            category="Results",
            labels={"view": "analysis: do the metrics agree, what to listen to first (notebook)"},
        ),
        notes=report(
            f"{ART}/report/demucs_notes.md",
            caption="../report/captions/demucs_notes.rst",
            category="Summary",
            labels={"view": "what Demucs' settings do (Markdown to download)"},
        ),
    log:
        f"{ART}/logs/analysis.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        metrics=lambda wildcards, input: os.path.abspath(input.metrics),
        folder=lambda wildcards, output: os.path.dirname(output.notebook),
    shell:
        '(cp {input.notes:q} {output.notes:q} && AUDIORESTORER_METRICS={params.metrics:q} sh "$AUDIORESTORER_PYTHON" -m nbconvert --execute --to notebook'
        " --output-dir {params.folder:q} --output analysis {input.notebook:q}"
        ' && sh "$AUDIORESTORER_PYTHON" -m nbconvert --to html --HTMLExporter.mathjax_url= --HTMLExporter.require_js_url='
        " --output-dir {params.folder:q} {output.notebook:q}) 2>&1 | tee {log:q}"


# Of no batch: nothing but the page itself waits for it.
rule quality_page:
    input:
        f"{ROOT}/docs/lab/quality.md",
    output:
        report(
            f"{ART}/report/quality.html",
            caption="../report/captions/quality.rst",
            category="Summary",
            labels={"view": "these models against others"},
        ),
    log:
        f"{ART}/logs/quality_page.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        code=code_digest("stages.batch.quality_page"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer quality-page {input:q} {output:q} 2>&1 | tee {log:q}'
