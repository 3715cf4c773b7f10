"""Commands about one image: segment, extract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from hepacast.cli import completion
from hepacast.cli.common import (
    AcceptDoubtful,
    Command,
    OnCluster,
    Quiet,
    Series,
    Workers,
    make_reporter,
    parse_pairs,
    say,
    work_on,
)

#: What `extract --biomarkers` can be told.
Biomarkers = Annotated[
    bool, typer.Option("--biomarkers", help="Measure biomarkers of liver and tumor instead of radiomics features.")
]
PhaseGiven = Annotated[
    list[str] | None,
    typer.Option(
        help="With --biomarkers: phase of the image (portal), or a further image (arterial=PATH); repeatable.",
        autocompletion=completion.phases,
    ),
]
Modality = Annotated[
    str | None,
    typer.Option(
        help="With --biomarkers: CT or MR, where the file does not say; CT otherwise.",
        autocompletion=completion.one_of("CT", "MR"),
    ),
]
Hematocrit = Annotated[
    float | None, typer.Option(help="With --biomarkers: share of the blood (0.40), for the extracellular volume.")
]
Invasion = Annotated[
    bool | None, typer.Option(help="With --biomarkers: whether a vessel is invaded, for T and up-to-seven.")
]
Picture = Annotated[
    Path | None, typer.Option(help="With --biomarkers: also write a picture (PNG) of what was measured.")
]
Maps = Annotated[Path | None, typer.Option(help="Also write voxel-wise feature maps into this folder.")]
Compare = Annotated[Path | None, typer.Option(help="Table made elsewhere, to compare with.")]
Perturb = Annotated[
    Path | None, typer.Option(help="With a table: each feature's ICC under perturbations, into this CSV.")
]
Explain = Annotated[str | None, typer.Option(help="Explain one feature and stop.", autocompletion=completion.features)]
ImagePaths = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]PATH",
        help="NIfTI, NRRD or MHA file, or a DICOM folder; for an nnU-Net of several channels NAME=PATH for each.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(cls=Command)(segment)
    app.command(cls=Command)(extract)


def segment(
    image: ImagePaths,
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
    from hepacast.study.segment import named_images, segment_image

    result = segment_image(
        named_images(image),
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


TableFile = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Table to write (.csv or .parquet); or an address, as s3://."),
]


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
    output: TableFile = None,
    labels: Annotated[str, typer.Option(help="Names of label values, as liver=1,tumor=2.")] = "",
    vois: Annotated[str, typer.Option(help="VOIs by algebra, as 'parenchyma: liver - tumor; tumor: tumor'.")] = "",
    settings: Annotated[
        str,
        typer.Option(help="ptlf, early-recurrence, ibsi, or a PyRadiomics file.", autocompletion=completion.settings),
    ] = "ptlf",
    backend: Annotated[
        str, typer.Option(help="hepacast or pyradiomics.", autocompletion=completion.one_of("hepacast", "pyradiomics"))
    ] = "hepacast",
    maps: Maps = None,
    compare: Compare = None,
    perturb: Perturb = None,
    biomarkers: Biomarkers = False,
    phase: PhaseGiven = None,
    modality: Modality = None,
    hematocrit: Hematocrit = None,
    vascular_invasion: Invasion = None,
    picture: Picture = None,
    explain: Explain = None,
    series: Series = None,
    accept_doubtful: AcceptDoubtful = False,
    workers: Workers = 0,
    cluster: OnCluster = None,
    quiet: Quiet = False,
) -> None:
    """Measure radiomics features, or biomarkers, of one image or of a table of patients."""
    from hepacast.study.extract import explain_feature, extract_image

    if explain is not None:
        say(explain_feature(explain))
        return
    if image is None:
        raise typer.BadParameter("an image, or a table of patients, is needed")
    named = parse_pairs([item for item in labels.split(",") if item], what="A label")
    work: Callable[..., str]
    own: dict[str, Any]
    if biomarkers:
        facts = {"hematocrit": hematocrit, "vascular_invasion": vascular_invasion}
        work, own = _biomarkers, {"phases": phase or (), "modality": modality, "picture": picture, **facts}
    else:
        work, own = extract_image, {"vois": vois, "settings": settings, "backend": backend}
        own |= {"maps": maps, "compare": compare}
    how: dict[str, Any] = {"labels": named, "perturb": perturb, "series": series, "accept_doubtful": accept_doubtful}
    say_to = make_reporter(quiet)
    with work_on(cluster, say_to):
        say(work(image, mask or None, output, workers=workers, reporter=say_to, **how, **own))


def _biomarkers(*where: Any, modality: str | None, **options: Any) -> str:
    from hepacast.study.biomarkers import extract_biomarkers

    kind = modality.upper() if modality else None
    if kind not in (None, "CT", "MR"):
        raise typer.BadParameter("--modality is CT or MR")
    return extract_biomarkers(*where, modality=kind, **options)
