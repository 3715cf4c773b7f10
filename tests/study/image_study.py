"""A small study of images whose masks are given, and a cohort of small phantoms for it."""

import numpy as np
import pandas as pd

from hepacast.imaging import Geometry, Volume, write_volume

STUDY = """
name: Small study of images
cohort:
  table: patients.csv
  id: patient
  columns:
    age: {kind: numeric, label: Age, unit: years, quantity: none}
  split: {by: random, validation_fraction: 0.3}
outcome: {column: event, positive: [1], negative: [0]}
images:
  sequences: {pv: {path: "{data}/{patient}.nii.gz", modality: CT}}
  segmentation:
    {source: given, masks: "{data}/{patient}_mask.nii.gz", labels: LABELS, accept_doubtful: [PATIENTS]}
  vois: {tumor: tumor}
features: {settings: s.yaml}
FURTHER
modelling:
  candidates: [age]
  models: [MODELS]
  validation: {folds: 3, repeats: 1, bootstrap: BOOTSTRAP, usual_way: false, centers: false, learning_curve: 0,
               importance: 0}
evaluation: {bootstrap: 0}
report: {formats: [html]}
"""


def write_image_study(
    folder, patients, *, features, labels="{tumor: 1}", models="clinical, radiomics, combined", further="", bootstrap=0
):
    """Write the study of patients (image, label map, whether the event came).

    Parameters
    ----------
    features
        Feature classes of the original image, as YAML.
    further
        More sections of the study file.
    """
    ages, rows = np.random.default_rng(4), []
    for number, (image, mask, event) in enumerate(patients):
        name = f"P{number:02d}"
        write_volume(image, folder / f"{name}.nii.gz")
        write_volume(mask, folder / f"{name}_mask.nii.gz")
        rows.append({"patient": name, "age": round(float(ages.normal(60, 9))), "event": int(event)})
    pd.DataFrame(rows).to_csv(folder / "patients.csv", index=False)
    (folder / "s.yaml").write_text(f"imageType: {{Original: {{}}}}\nfeatureClass: {features}\n")
    text = STUDY.replace("LABELS", labels).replace("PATIENTS", ", ".join(row["patient"] for row in rows))
    text = text.replace("MODELS", models).replace("FURTHER", further).replace("BOOTSTRAP", str(bootstrap))
    (folder / "study.yaml").write_text(text)


def tumors_by_spread(count, seed=3):
    """Patients for `write_image_study`, whose event goes with the spread of gray levels in the tumor."""
    generator = np.random.default_rng(seed)
    z, y, x = np.ogrid[:12, :20, :20]
    for _ in range(count):
        spread = float(generator.uniform(5, 30))
        middle = np.array([6, 10, 10]) + generator.uniform(-2.0, 2.0, 3)
        tumor = sum((axis - at) ** 2 for axis, at in zip((z, y, x), middle)) < generator.uniform(12, 25)
        voxels = np.rint(np.where(tumor, generator.normal(60, spread, tumor.shape), 100)).astype(np.int16)
        image = Volume(voxels, Geometry(voxels.shape[::-1], (2.0, 2.0, 2.0)))
        event = generator.random() < 1 / (1 + np.exp((17 - spread) / 4))
        yield image, image.with_array(tumor.astype(np.uint8)), event
