"""Make the extract of IDC's index that the package holds: the radiology series of the collections of `hepacast fetch`.

Usage, with the wheel of ``idc-index-data`` (MIT; ``pip download --no-deps idc-index-data``) unpacked into FOLDER::

    python benchmarks/tools/idc_extract.py FOLDER/idc_index_data

Slides (SM) and what was derived from them are left out. The same index gives the same file.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from hepacast.core.files import write_bytes, write_text
from hepacast.public.catalog import COLLECTIONS
from hepacast.public.index import EXTRACT, SOURCE

#: Column of the extract -> of the index.
COLUMNS = {
    "collection": "collection_id",
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "study_date": "StudyDate",
    "series": "SeriesInstanceUID",
    "number": "SeriesNumber",
    "modality": "Modality",
    "description": "SeriesDescription",
    "derived_by": "analysis_result_id",
    "files": "instanceCount",
    "megabytes": "series_size_MB",
    "license": "license_short_name",
    "doi": "source_DOI",
    "bucket": "aws_bucket",
    "uuid": "crdc_series_uuid",
}
#: Derived from slides, in the frame of slides.
_OF_SLIDES = ("tcga_sbu_til_maps",)


def extract(index: Path) -> tuple[pd.DataFrame, str]:
    """Rows of the collections, sorted, and the version of the index."""
    wanted = [item.idc for item in COLLECTIONS.values() if item.idc]
    table = pq.read_table(index / "idc_index.parquet", filters=[("collection_id", "in", wanted)])
    version = (table.schema.metadata or {}).get(b"idc_index_data_version", b"unknown").decode().split("-")[0]
    frame = table.to_pandas()[list(COLUMNS.values())].set_axis(list(COLUMNS), axis=1)
    frame = frame[frame.modality.isin(["CT", "MR", "SEG"]) & ~frame.derived_by.isin(_OF_SLIDES)]
    frame.insert(frame.columns.get_loc("megabytes"), "bytes", (frame.megabytes * 1e6).round().astype("int64"))
    keys = ["collection", "patient", "study_date", "study", "modality", "number", "series"]
    return frame.drop(columns="megabytes").sort_values(keys, kind="stable"), version


def main(folder: Path) -> None:
    """Write the extract and where it comes from into the package."""
    frame, version = extract(folder)
    write_bytes(EXTRACT, gzip.compress(frame.to_csv(index=False, lineterminator="\n").encode(), mtime=0))
    write_text(
        SOURCE,
        f"{EXTRACT.name}: {len(frame)} series of {frame.collection.nunique()} collections out of idc_index.parquet of\n"
        f"idc-index-data {version}, the index of NCI Imaging Data Commons (https://imaging.datacommons.cancer.gov),\n"
        "made by benchmarks/tools/idc_extract.py. It holds identifiers, sizes and addresses, no images.\n\n"
        "License of idc-index-data: MIT, Copyright 2024 Andrey Fedorov\n"
        "(https://github.com/ImagingDataCommons/idc-index-data). The images have licenses of their own, named in the\n"
        "column `license` and written beside whatever `hepacast fetch` brings.\n\n"
        "Cite: Fedorov A, Longabaugh WJR, Pot D, et al. National Cancer Institute Imaging Data Commons: toward\n"
        "transparency, reproducibility, and scalability in imaging artificial intelligence. RadioGraphics.\n"
        "2023;43(12):e230180. doi:10.1148/rg.230180\n",
    )
    print(f"{EXTRACT.name}: {len(frame)} series, {EXTRACT.stat().st_size / 1e3:.0f} kB, index {version}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
