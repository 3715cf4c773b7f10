"""Commands about one image: segment, extract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hepacast.cli import completion
from hepacast.cli.common import AcceptDoubtful, Command, Quiet, Series, Workers, make_reporter, parse_pairs, say

ImagePath = Annotated[Path, typer.Argument(help="NIfTI, NRRD or MHA file, or a DICOM folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(segment)
    app.command(cls=Command)(extract)


def segment(
    image: ImagePath,
    output: Annotated[Path, typer.Option("--output", "-o", help="Mask to write (.nii.gz, .nrrd, .mha).")],
    segmenter: Annotated[
        str,
        typer.Option(
            "--segmenter",
            "--model",
            help="builtin, builtin:openvino, nnunet:DIR, or totalsegmentator.",
            autocompletion=completion.one_of(*completion.SEGMENTERS),
        ),
    ] = "builtin",
    liver: Annotated[Path | None, typer.Option(help="Liver mask, if there is one: only lesions are searched.")] = None,
    weights: Annotated[Path | None, typer.Option(help="File with the built-in networks' weights.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Also write a picture (PNG) of the result.")] = None,
    series: Series = None,
    accept_doubtful: AcceptDoubtful = False,
    quiet: Quiet = False,
) -> None:
    """Outline liver and tumors on one image."""
    from hepacast.study.segment import segment_image

    result = segment_image(
        image,
        output,
        segmenter=segmenter,
        liver=liver,
        weights=weights,
        overlay=overlay,
        series=series,
        accept_doubtful=accept_doubtful,
        reporter=make_reporter(quiet),
    )
    say(result)


def extract(
    image: Annotated[
        Path | None, typer.Argument(help="Image, or a table (CSV, Excel) with columns patient, image, mask.")
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]PATH",
            help="Mask of the image: a file, a folder of one file a structure, or NAME=PATH for each.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table to write (.csv or .parquet).")] = None,
    labels: Annotated[str, typer.Option(help="Names of label values, as liver=1,tumor=2.")] = "",
    vois: Annotated[str, typer.Option(help="VOIs by algebra, as 'parenchyma: liver - tumor; tumor: tumor'.")] = "",
    settings: Annotated[
        str,
        typer.Option(help="ptlf, early-recurrence, ibsi, or a PyRadiomics file.", autocompletion=completion.settings),
    ] = "ptlf",
    backend: Annotated[
        str, typer.Option(help="hepacast or pyradiomics.", autocompletion=completion.one_of("hepacast", "pyradiomics"))
    ] = "hepacast",
    maps: Annotated[Path | None, typer.Option(help="Also write voxel-wise feature maps into this folder.")] = None,
    compare: Annotated[Path | None, typer.Option(help="Table made elsewhere, to compare with.")] = None,
    perturb: Annotated[
        Path | None, typer.Option(help="With a table: each feature's ICC under perturbations, into this CSV.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option(help="Explain one feature and stop.", autocompletion=completion.features)
    ] = None,
    series: Series = None,
    accept_doubtful: AcceptDoubtful = False,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Measure radiomics features of one image, or of a table of patients."""
    from hepacast.study.extract import explain_feature, extract_image

    if explain is not None:
        say(explain_feature(explain))
        return
    if image is None:
        raise typer.BadParameter("an image, or a table of patients, is needed")
    text = extract_image(
        image,
        mask or None,
        output,
        labels=parse_pairs([item for item in labels.split(",") if item], what="A label"),
        vois=vois,
        settings=settings,
        backend=backend,
        maps=maps,
        compare=compare,
        perturb=perturb,
        series=series,
        accept_doubtful=accept_doubtful,
        workers=workers,
        reporter=make_reporter(quiet),
    )
    say(text)
