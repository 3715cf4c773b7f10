"""How reproducible biomarkers are under perturbed images and masks, and how long they take.

``python benchmarks/biomarkers.py [N]``: N virtual patients (CT of 3.6 x 3.6 x 5 mm, one to three tumors of 20 to 90 mm)
under the perturbations of `hepacast.radiomics.perturb.DEFAULT`; the table by ICC as Markdown. With ``IMAGE MASK``
(labels 1 liver, 2 tumor) instead: CPU seconds of one patient and phase, compiled code ready.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from hepacast.biomarkers import measure_biomarkers
from hepacast.core.seeds import rng
from hepacast.imaging import read_mask, read_volume, write_labelmap, write_volume
from hepacast.phantom import PatientSpec, TumorSpec, make_ct
from hepacast.study.biomarkers import perturbed_biomarkers

LABELS = {"parenchyma": 1, "tumor": 2}


def write_patients(folder: Path, number: int) -> Path:
    """Virtual patients and their table."""
    rows = []
    for place in range(number):
        draw = rng(11, "benchmark of biomarkers", place)
        largest = float(draw.uniform(20, 90))
        sizes = sorted((largest, *draw.uniform(15, max(16.0, 0.6 * largest), int(draw.integers(0, 3)))), reverse=True)
        tumors = tuple(TumorSpec("right" if n % 2 == 0 else "left", float(size)) for n, size in enumerate(sizes))
        patient = make_ct(PatientSpec(f"B{place:02d}", seed=5, tumors=tumors, texture=float(draw.normal())))
        image, mask = folder / f"{place}.nii.gz", folder / f"{place}_mask.nii.gz"
        write_volume(patient.image, image)
        write_labelmap(patient.labels, mask)
        rows.append({"patient": f"B{place:02d}", "portal": image.name, "mask": mask.name})
    table = folder / "patients.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


def reproducibility(number: int) -> str:
    """The table by ICC."""
    with tempfile.TemporaryDirectory() as folder:
        table = write_patients(Path(folder), number)
        found = perturbed_biomarkers(table, labels=LABELS, accept_doubtful=True, workers=1)
    known = found[found["icc2"].notna()]
    lines = ["| biomarker | ICC | biomarker | ICC |", "|---|---|---|---|"]
    cells = [f"| `{name.removeprefix('biomarker/')}` | {icc:.3f} " for name, icc in known["icc2"].items()]
    half = (len(cells) + 1) // 2
    lines += [cells[row] + (cells[row + half] if row + half < len(cells) else "| | ") + "|" for row in range(half)]
    return "\n".join(lines)


def seconds(image: Path, mask: Path) -> str:
    """CPU seconds of one patient with one phase."""
    volume, masks = read_volume(image), read_mask(mask, {"liver": 1, "tumor": 2})
    measure_biomarkers({"portal": volume}, masks)
    took = []
    for _ in range(3):
        start = time.process_time()
        measure_biomarkers({"portal": volume}, masks)
        took.append(time.process_time() - start)
    return f"{min(took):.2f} CPU seconds ({volume.geometry.size} voxels)"


if __name__ == "__main__":
    paths = [Path(item) for item in sys.argv[1:] if not item.isdigit()]
    print(seconds(*paths) if paths else reproducibility(int(sys.argv[1]) if len(sys.argv) > 1 else 24))
