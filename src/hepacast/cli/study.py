"""Commands about a whole study: from `init` and `run` to `validate`, `monitor` and `pool`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hepacast.cli import completion
from hepacast.cli.common import Command, OnCluster, Out, Quiet, WithoutRows, Workers, make_reporter, say, work_on
from hepacast.cli.json_option import JsonCommand
from hepacast.cli.table_options import Figures, show
from hepacast.cli.table_options import Json as JsonOut
from hepacast.errors import HepacastError
from hepacast.report.formats import FORMATS

StudyFile = Annotated[Path, typer.Argument(help="Study file (YAML), or the folder that holds study.yaml.")]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER", help="What {data} stands for in the study file: a folder, or s3://, gs://, https://."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (init, check, run, model, report, validate, compare, monitor, pool, dicom, demo, recipes):
        app.command(cls=JsonCommand if command is pool else Command)(command)


def init(
    folder: Annotated[Path, typer.Argument(help="New folder for the study.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Published study to follow; see `hepacast recipes` [default: ptlf].", autocompletion=completion.recipes
        ),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Your own table: what its columns mean is proposed from it.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="With --table: folder of the images and masks, named by the patients.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite a study that is there.")] = False,
) -> None:
    """Write a study file with every option explained, and a template of the clinical table (or read your own)."""
    if table is not None:
        from hepacast.study.propose import init_from_table

        study, proposed = init_from_table(folder, table, recipe, images=images, force=force)
        say(f"{proposed.text()}\n\nwrote {study}\nNext: look at the comments in it, then `hepacast check`.")
        return
    if images is not None:
        raise HepacastError("Images are looked for by the table's patients.", expected="--table FILE beside --images")
    from hepacast.study.template import init_study

    for path in init_study(folder, recipe or "ptlf", force=force):
        say(f"wrote {path}")
    say("Next: fill the table and save it as clinical.xlsx, adapt the study file, then `hepacast check`.")


def check(
    study_file: StudyFile,
    data: Data = None,
    volumes: Annotated[
        Path | None, typer.Option(help="Also write volume and HU of every VOI and patient into this CSV.")
    ] = None,
) -> None:
    """Say everything that is wrong before any long work: study file, table, outcome, images, masks."""
    from hepacast.core.files import require_writable_file
    from hepacast.study.check import check_study
    from hepacast.study.plausible_images import write_volumes

    if volumes is not None:
        require_writable_file(volumes)
    result = check_study(study_file, data=data, reporter=make_reporter())
    say(result.text())
    if volumes is not None:
        write_volumes(volumes, result.volumes)
        say(f"wrote {volumes}")
    if result.has_errors:
        raise typer.Exit(2)


def run(
    study_file: StudyFile,
    out: Out = None,
    data: Data = None,
    workers: Workers = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, what is cached, time and memory.")] = False,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.", autocompletion=completion.stages)] = None,
    cluster: OnCluster = None,
    without_rows: WithoutRows = False,
    quiet: Quiet = False,
) -> None:
    """Run the study from table and images to the finished report and the model bundle."""
    _run(study_file, out, data, workers, until, quiet, dry_run, cluster, without_rows)


def model(
    study_file: StudyFile, out: Out = None, data: Data = None, workers: Workers = 0, quiet: Quiet = False
) -> None:
    """Run a study as far as the fitted models and their validation."""
    _run(study_file, out, data, workers, "modelling", quiet, False)


def _run(
    study_file: Path,
    out: str | None,
    data: str | None,
    workers: int,
    until: str | None,
    quiet: bool,
    dry_run: bool,
    cluster: str | None = None,
    without_rows: bool = False,
) -> None:
    from hepacast.study.run import plan_study, run_study

    if dry_run:
        from hepacast.core.cluster import planned_cluster

        with planned_cluster(cluster) as there:
            plan = plan_study(study_file, out=out, data=data, workers=workers, without_rows=without_rows)
            say("\n".join(filter(None, [plan.text(), there])))
        return
    say_to = make_reporter(quiet)
    with work_on(cluster, say_to):
        result = run_study(
            study_file, out=out, data=data, workers=workers, until=until, without_rows=without_rows, reporter=say_to
        )
    if not quiet:
        say(result.text())


def report(
    results: Annotated[Path, typer.Argument(help="Results folder of a run.")],
    formats: Annotated[
        str,
        typer.Option(help="Formats, separated by commas.", autocompletion=completion.several_of(*FORMATS)),
    ] = ",".join(FORMATS),
) -> None:
    """Write the report again from the results of a run."""
    from hepacast.study.run import rebuild_report

    say(f"wrote {rebuild_report(results, tuple(item.strip() for item in formats.split(',')))}")


def dicom(
    study_file: StudyFile,
    out: Out = None,
    data: Data = None,
    to: Annotated[Path | None, typer.Option(help="Folder for the files [default: dicom in the results].")] = None,
    quiet: Quiet = False,
) -> None:
    """Write the results of every patient of a finished study as DICOM (SEG, SR, PDF, picture)."""
    from hepacast.study.dicom_results import write_study_dicom

    result = write_study_dicom(study_file, out=out, data=data, folder=to, reporter=make_reporter(quiet))
    say(result.text())


def validate(
    model: Annotated[Path, typer.Argument(help="model.hepacast or networks.hepacast of another study.")],
    study_file: StudyFile,
    out: Out = None,
    data: Data = None,
    workers: Workers = 0,
    update: Annotated[
        str | None,
        typer.Option(
            metavar="WAY",
            help="Also write updated.hepacast, adapted to these patients: closed-test (the smallest change that is "
            "enough), intercept, slope or refit.",
        ),
    ] = None,
    without_rows: WithoutRows = False,
    cluster: OnCluster = None,
    quiet: Quiet = False,
) -> None:
    """Test a model of another hospital, unchanged, on your patients: to an external-validation report of its own."""
    from hepacast.study.validate import validate_model

    say_to = make_reporter(quiet)
    with work_on(cluster, say_to):
        found = validate_model(
            model, study_file, out=out, data=data, workers=workers, update=update, without_rows=without_rows,
            reporter=say_to,
        )  # fmt: skip
    if not quiet:
        say(found.text())


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="[MODEL MODEL STUDY]", help="Two model files or more, then the study file (or folder)."),
    ],
    out: Out = None,
    data: Data = None,
    workers: Workers = 0,
    without_rows: WithoutRows = False,
    quiet: Quiet = False,
) -> None:
    """Test several models, unchanged, on the same patients of yours: which one is better there, to a report."""
    from hepacast.study.validate import compare_models

    *models, study_file = files
    found = compare_models(
        models, study_file, out=out, data=data, workers=workers, without_rows=without_rows,
        reporter=make_reporter(quiet),
    )  # fmt: skip
    if not quiet:
        say(found.text())


def monitor(
    model: Annotated[Path, typer.Argument(help="model.hepacast or networks.hepacast whose predictions were logged.")],
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="[LOG]", help="Tables of predictions (risks.csv), with columns date and outcome."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and its numbers.")],
    outcomes: Annotated[
        Path | None, typer.Option(help="Table with date and outcome by patient, where the logs have none.")
    ] = None,
    outcome: Annotated[str, typer.Option(help="Column of the outcome.")] = "outcome",
    date: Annotated[str, typer.Option(help="Column of the date of the prediction.")] = "date",
    time: Annotated[str, typer.Option(help="Column of the follow-up, in the model's unit.")] = "time",
    patient: Annotated[str, typer.Option(help="Column of the patient.")] = "patient",
    positive: Annotated[str | None, typer.Option(help="Value of the outcome that is the event.")] = None,
    date_format: Annotated[str, typer.Option(help="Order of day and month, as %d/%m/%Y.")] = "",
    name: Annotated[str | None, typer.Option("--model", help="Model of the file [default: the main one].")] = None,
    window: Annotated[str, typer.Option(help="month, quarter, half-year or year [default: as the log allows].")] = "",
    ratio: Annotated[float, typer.Option(help="Change of the odds (hazard) that is looked for.")] = 2.0,
    false_alarm: Annotated[
        float, typer.Option(help="Probability of a call although the risks are right, in --within patients.")
    ] = 0.05,
    within: Annotated[int, typer.Option(help="Patients that the false-alarm rate is of.")] = 1000,
    without_rows: WithoutRows = False,
    quiet: Quiet = False,
) -> None:
    """Does a model still hold? Calibration and case-mix over time, and a chart that calls when to recalibrate."""
    from hepacast.bundle.applying import open_bundle
    from hepacast.evaluation.monitoring import ChartSettings
    from hepacast.study.monitor import LogColumns, monitor_model

    columns = LogColumns(outcome, date, time, patient, positive, date_format)
    settings = ChartSettings(ratio, false_alarm, within)
    opened = open_bundle(model, without_rows=without_rows, say=make_reporter(quiet).say)
    found = monitor_model(
        opened, logs, out=out, outcomes=outcomes, columns=columns, name=name, window=window, settings=settings
    )
    say(found.text())


def pool(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="[RESULTS]", help="Folders of validations in several hospitals, or their evaluation.json."
        ),
    ],
    name: Annotated[str | None, typer.Option("--model", help="Model [default: the main one].")] = None,
    as_json: JsonOut = None,
    figures: Figures = None,
) -> None:
    """Meta-analysis of validations in several hospitals, from their JSON files alone (no patient is in them)."""
    from hepacast.study.pool import pool_validations

    show(pool_validations(results, model=name), as_json, figures)


def demo(
    study: Annotated[
        str,
        typer.Option(
            help="Study: ptlf, tace-response, proliferative, early-recurrence or ptlf-end-to-end.",
            autocompletion=completion.recipes,
        ),
    ] = "ptlf",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the virtual cohort and its results.")] = Path(
        "demo-results"
    ),
    training: Annotated[
        int | None, typer.Option(help="Virtual patients to train on; the demo's own number if left out.", min=40)
    ] = None,
    validation: Annotated[
        int | None, typer.Option(help="Virtual patients to validate on; the demo's own number if left out.", min=20)
    ] = None,
    effect: Annotated[
        str,
        typer.Option(
            help="planted: a known truth; none: nothing to find.", autocompletion=completion.one_of("planted", "none")
        ),
    ] = "planted",
    seed: Annotated[int | None, typer.Option(help="Seed of the virtual cohort and of the study.")] = None,
    segmenter: Annotated[
        str | None,
        typer.Option(
            help="ptlf, tace-response. nnunet: trained here; given: masks for all.",
            autocompletion=completion.one_of("nnunet", "given"),
        ),
    ] = None,
    real: Annotated[
        bool, typer.Option("--real", help="Real patients instead: two public tables that the package holds.")
    ] = False,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Run a study on virtual patients whose truth is known (or on real ones), to the finished report."""
    from hepacast.study.demos import run_demo_of, told

    if real:
        from hepacast.study.demos.real import run_real

        for done in run_real(out, workers=workers, reporter=make_reporter(quiet)).values():
            say("" if quiet else done.text(), nl=not quiet)
        return
    result = run_demo_of(
        study,
        out,
        n_training=training,
        n_validation=validation,
        effect=effect,
        seed=seed,
        segmenter=segmenter,
        workers=workers,
        reporter=make_reporter(quiet),
    )
    if not quiet:
        say(result.text())
        say(told(result))


def recipes(
    schema: Annotated[bool, typer.Option("--schema", help="JSON Schema of the study file, for editors.")] = False,
    reference: Annotated[bool, typer.Option("--reference", help="Every key of the study file (Markdown).")] = False,
) -> None:
    """List the recipes; or print the study file's schema or reference."""
    from hepacast.study.template import NOT_YET, RECIPES, reference_markdown, schema_json

    if schema:
        say(json.dumps(schema_json(), indent=1))
    elif reference:
        say(reference_markdown(), nl=False)
    else:
        for name, text in RECIPES.items():
            missing = f" (not in this version: {NOT_YET[name]})" if name in NOT_YET else ""
            say(f"{name:17} {text}{missing}")
