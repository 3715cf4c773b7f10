"""Commands about one patient: predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hepacast.cli import completion
from hepacast.cli.common import AcceptDoubtful, Quiet, make_reporter
from hepacast.cli.json_option import JsonCommand
from hepacast.cli.table_options import Json, show


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(cls=JsonCommand)(predict)


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


def predict(
    bundle: Annotated[Path, typer.Argument(help="model.hepacast")],
    more: Annotated[
        list[str] | None, typer.Argument(help="Further clinical values, as alb=38.", metavar="NAME=VALUE")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="Image: NIfTI, NRRD, MHA, or a DICOM folder; of several sequences NAME=PATH, once for each.",
        ),
    ] = None,
    series: SeriesOf = None,
    mask: MaskFiles = None,
    labels: Annotated[str, typer.Option(help="Names of the mask's values, as parenchyma=1,tumor=2.")] = "",
    labs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Clinical values, as inr=1.2; repeat, or use commas. Or a table with the patient's row.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model of the bundle [default: the combined one].")] = None,
    segmenter: Annotated[
        str | None,
        typer.Option(
            help="builtin, builtin:openvino, nnunet:DIR, or totalsegmentator [default: that of the training masks, if "
            "built in; else builtin].",
            autocompletion=completion.one_of(*completion.SEGMENTERS),
        ),
    ] = None,
    accept_doubtful: AcceptDoubtful = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for prediction.json and prediction.pdf.")
    ] = None,
    patient: Annotated[str, typer.Option(help="Study code of the patient, for the page; no name.")] = "",
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Risk of one new patient from a model bundle: points, shares, warnings, one page PDF."""
    from hepacast.study.predict import predict_patient

    result = predict_patient(
        bundle,
        image=image or None,
        series=series or None,
        mask=mask or None,
        labels=labels,
        labs=_values_of([*(labs or []), *(more or [])]),
        model=model,
        segmenter=segmenter,
        accept_doubtful=accept_doubtful,
        out=out,
        patient=patient,
        reporter=make_reporter(quiet),
    )
    show(result, as_json, None)


def _values_of(given: list[str]) -> list[str]:
    """A comma separates values only where another name=value follows: "inr=1,2" is a decimal comma."""
    import re

    return [part for item in given for part in re.split(r",(?=[^,=]+=)", item)]
