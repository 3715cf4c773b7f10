"""Commands about one patient: predict, and the page that predicts: page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepacast.cli import completion
from hepacast.cli.common import (
    AcceptDoubtful,
    Command,
    OnCluster,
    Quiet,
    WithoutRows,
    Workers,
    make_reporter,
    parse_pairs,
    say,
    work_on,
)
from hepacast.cli.json_option import JsonCommand
from hepacast.cli.table_options import Json, show
from hepacast.errors import StudyFileError

if TYPE_CHECKING:
    from hepacast.core.progress import Reporter
    from hepacast.study.predict_table import PredictedPatients


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(cls=JsonCommand)(predict)
    app.command(cls=Command)(page)


MaskFiles = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]PATH",
        help="Mask of the image: a file, a folder of one file a structure, or NAME=PATH, once for each; made by "
        "--segmenter if left out.",
    ),
]
SeriesOf = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]SERIES",
        help="DICOM series of a folder with several: number, UID, or words of the description; of several "
        "sequences NAME=SERIES, once for each.",
    ),
]


Patients = Annotated[
    Path | None,
    typer.Option(
        help="Many patients instead of one: a table with an identifier, the clinical values and, where there are "
        "images, columns image (or the sequences' names), mask, series; to risks.csv in --out.",
    ),
]
ImagePlaces = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]FOLDER",
        help="With --table: where the images are, each named as its patient; or a path with {patient} in it.",
    ),
]


MoreValues = Annotated[
    list[str] | None, typer.Argument(help="Further clinical values, as alb=38.", metavar="NAME=VALUE")
]
ImageFiles = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]PATH",
        help="Image: NIfTI, NRRD, MHA, or a DICOM folder; of several sequences NAME=PATH, once for each.",
    ),
]
LabValues = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Clinical values, as inr=1.2; repeat, or use commas. Or a table with the patient's row.",
    ),
]
SegmenterOf = Annotated[
    str | None,
    typer.Option(
        help="builtin, builtin:openvino, nnunet:DIR, or totalsegmentator [default: that of the training masks, if "
        "built in; else builtin].",
        autocompletion=completion.one_of(*completion.SEGMENTERS),
    ),
]
OutFolder = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for prediction.json and prediction.pdf; with --table for risks.csv (or an address, as s3://).",
    ),
]
DicomFolder = Annotated[
    Path | None,
    typer.Option(help="Folder for the results as DICOM (SEG, SR, PDF, picture) in the study of the images."),
]
FhirFile = Annotated[Path | None, typer.Option(help="JSON file for the results as FHIR R4 resources.")]
MaskPlaces = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="With --table: where the masks are, as --images.")
]
Identifier = Annotated[
    str, typer.Option("--id", help="With --table: header of the identifier [default: the column named as one].")
]
Pages = Annotated[bool, typer.Option("--pages", help="With --table: also every patient's page and pictures.")]


def predict(
    bundle: Annotated[Path, typer.Argument(help="model.hepacast")],
    more: MoreValues = None,
    image: ImageFiles = None,
    series: SeriesOf = None,
    mask: MaskFiles = None,
    labels: Annotated[str, typer.Option(help="Names of the mask's values, as parenchyma=1,tumor=2.")] = "",
    labs: LabValues = None,
    model: Annotated[str | None, typer.Option(help="Model of the bundle [default: the combined one].")] = None,
    segmenter: SegmenterOf = None,
    accept_doubtful: AcceptDoubtful = False,
    out: OutFolder = None,
    dicom_out: DicomFolder = None,
    fhir: FhirFile = None,
    patient: Annotated[str, typer.Option(help="Study code of the patient, for the page; no name.")] = "",
    table: Patients = None,
    images: ImagePlaces = None,
    masks: MaskPlaces = None,
    identifier: Identifier = "",
    pages: Pages = False,
    without_rows: WithoutRows = False,
    workers: Workers = 0,
    cluster: OnCluster = None,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Risk of one new patient from a model bundle: points, shares, warnings, one page PDF; or of a whole table."""
    given: dict[str, object] = {"--image": image, "--series": series, "--mask": mask, "--labs": labs}
    given |= {"--patient": patient, "values": more, "--dicom-out": dicom_out, "--fhir": fhir}
    many = {"--images": images, "--masks": masks, "--id": identifier, "--pages": pages, "--cluster": cluster}
    if table is not None:
        _refuse(given, "With --table the patients' values and images are those of the table.", "--images, --masks")
        options: dict[str, Any] = {"model": model, "segmenter": segmenter, "labels": labels, "masks": masks}
        options |= {"accept_doubtful": accept_doubtful, "images": _places(images)}
        options |= {"identifier": identifier, "pages": pages, "without_rows": without_rows}
        options |= {"workers": workers, "reporter": make_reporter(quiet)}
        show(_of_table(bundle, table, out, cluster, **options), as_json, None)
        return
    many |= {"--out": _address(out)}
    _refuse(many, "These options are about a table of patients.", "--table TABLE beside them")
    from hepacast.bundle.applying import open_bundle
    from hepacast.study.predict import predict_patient

    say_to = make_reporter(quiet)
    result = predict_patient(
        open_bundle(bundle, without_rows=without_rows, say=say_to.say),
        image=image or None, series=series or None, mask=mask or None, labels=labels,
        labs=_values_of([*(labs or []), *(more or [])]),
        model=model,
        segmenter=segmenter,
        accept_doubtful=accept_doubtful,
        out=out,
        dicom_out=dicom_out,
        fhir=fhir,
        patient=patient,
        reporter=say_to,
    )  # fmt: skip
    show(result, as_json, None)


def page(
    bundle: Annotated[Path, typer.Argument(help="model.hepacast")],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")] = Path("calculator.html"),
    without_rows: WithoutRows = False,
    quiet: Quiet = False,
) -> None:
    """The live nomogram of a bundle as one HTML file, without server or network: sliders, risk, validation, limits."""
    from hepacast.bundle.applying import open_bundle
    from hepacast.web.calculator_page import write_calculator

    opened = open_bundle(bundle, without_rows=without_rows, say=make_reporter(quiet).say)
    say(f"wrote {write_calculator(opened, out)}", err=True)


def _of_table(
    bundle: Path, table: Path, out: str | None, cluster: str | None, *, reporter: Reporter, **options: Any
) -> PredictedPatients:
    """`predict_table`, which needs a folder."""
    from hepacast.study.predict_table import predict_table

    if out is None:
        raise StudyFileError("Where should the risks go?", expected="--out FOLDER, for risks.csv")
    with work_on(cluster, reporter):
        return predict_table(bundle, table, out=out, reporter=reporter, **options)


def _address(out: str | None) -> str | None:
    """An address in the place of a folder."""
    from hepacast.core.remote_files import is_address

    return out if is_address(out) else None


def _refuse(given: Mapping[str, object], message: str, expected: str) -> None:
    """Refuse options that say nothing here, rather than pass them over."""
    found = [name for name, value in given.items() if value]
    if found:
        raise StudyFileError(message, expected=expected, found=", ".join(found))


def _places(given: list[str] | None) -> str | dict[str, str] | None:
    """One place of images, or places by sequence."""
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    return parse_pairs(given, what="Images")


def _values_of(given: list[str]) -> list[str]:
    """A comma separates values only where another name=value follows: "inr=1,2" is a decimal comma."""
    import re

    return [part for item in given for part in re.split(r",(?=[^,=]+=)", item)]
