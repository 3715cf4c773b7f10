"""`hepacast predict` of one patient, whole: from a DICOM folder, masks by the built-in networks, to the risk.

    python benchmarks/predict.py DIR [--engines torch,openvino] [--threads 2] [--json FILE]

`DIR` holds the CT `ct/ircadb17`, or is a NIfTI file of another CT. It is written as a DICOM folder, and a small study
on virtual patients makes a bundle whose model reads 1874 features (two VOIs); both are kept (`--work`) for the next
run. Every engine's `hepacast predict` is a process of its own with `--threads` cores. CPU seconds are those of the
whole process, start and end included; the stages' are what the process used while the stage ran. The engines' masks
are compared with the expert's where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

ENGINES = {
    "openvino-bf16": "builtin:openvino-bf16",
    "openvino": "builtin:openvino",
    "torch-bf16": "builtin:torch-bf16",
    "torch": "builtin",
}
CT, MASK = "ct/ircadb17/ircadb17_ct.nii.gz", "ct/ircadb17/ircadb17_seg_1liver_2tumour.nii.gz"

#: Stage: module and function whose time it is, in the order of `predict`.
STAGES = {
    "opening the bundle": ("hepacast.study.predict", "open_bundle"),
    "reading the image, loading networks": ("hepacast.study.patient_images", "read_volume"),
    "liver network and its grids": ("hepacast.segmentation.builtin.segmenter", "find_liver"),
    "lesion network and its grids": ("hepacast.segmentation.builtin.segmenter", "find_lesions"),
    "judging the masks": ("hepacast.study.predict", "judge"),
    "features and risk": ("hepacast.study.predict", "apply_bundle"),
    "page, picture, mask": ("hepacast.study.predict", "_write"),
}


# ------------------------------------------------------------------------------------------------------ what is needed


def dicom_folder(image: Path, folder: Path) -> Path:
    """The CT as a DICOM series, one file a slice."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    from hepacast.imaging import read_volume
    from hepacast.segmentation.axes import turn

    if folder.is_dir():
        return folder
    turned = turn(read_volume(image), "LPS")
    series = [generate_uid() for _ in range(3)]
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        for k in range(turned.array.shape[2]):
            values = np.ascontiguousarray(turned.array[:, :, k].T.astype(np.int16))
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID = CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            data = FileDataset(f"{k:04d}.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
            data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
            data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = series
            data.PatientName = data.PatientID = data.PatientBirthDate = data.PatientSex = ""
            data.StudyDate = data.StudyTime = data.StudyID = data.AccessionNumber = ""
            data.Modality, data.SeriesNumber, data.InstanceNumber = "CT", 1, k + 1
            data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            data.ImagePositionPatient = [0.0, 0.0, round(k * turned.spacing[2], 4)]
            data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            data.PixelSpacing = [round(turned.spacing[1], 6), round(turned.spacing[0], 6)]
            data.SliceThickness = round(turned.spacing[2], 4)
            data.Rows, data.Columns = values.shape
            data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
            data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
            data.RescaleSlope, data.RescaleIntercept = 1.0, 0.0
            data.PixelData = values.tobytes()
            data.save_as(Path(made) / f"{k:04d}.dcm", enforce_file_format=True)
        shutil.copytree(made, folder)
    return folder


def bundle_of_phantoms(folder: Path) -> Path:
    """A bundle of a small study of virtual patients, its features those of the settings `ptlf`."""
    import yaml
    from golden_studies import write_ptlf

    from hepacast.study.run import run_study

    path = folder / "results" / "model.hepacast"
    if not path.is_file():
        write_ptlf(folder)
        study = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
        study["features"] = {"settings": "ptlf"}
        (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
        run_study(folder, out=folder / "results", until="bundle")
    return path


# ------------------------------------------------------------------------------------------------------ one prediction


def child(arguments: list[str], where: Path) -> None:
    """`hepacast ARGUMENTS` in this process, its stages timed."""
    stages: dict[str, list[float]] = {}

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return function(*args, **keywords)
            finally:
                spent = (time.process_time() - cpu, time.perf_counter() - wall)
                stages[stage] = [a + b for a, b in zip(stages.get(stage, [0.0, 0.0]), spent, strict=True)]

        return call

    from hepacast.cli.main import main

    for stage, (module, name) in STAGES.items():
        owner = import_module(module)
        setattr(owner, name, timed(stage, getattr(owner, name)))
    sys.argv = ["hepacast", *arguments]
    try:
        main()
    finally:
        where.write_text(json.dumps(stages))


def predicted(arguments: list[str], threads: int) -> dict[str, Any]:
    """CPU seconds, wall seconds and stages of one `hepacast predict`."""
    environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))}
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "stages.json"
        command = [sys.executable, __file__, "--child", str(where), "--", *arguments]
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, list(range(threads)))
        told, errors = process.communicate()
        wall = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(errors)
        usage = json.loads(where.with_suffix(".usage").read_text())
        return {**usage, "wall": wall, "stages": json.loads(where.read_text()), "answer": told}


def dice(found: Path, expert: Path) -> dict[str, float]:
    """Liver and tumor of a label map (parenchyma 1, tumor 2) against the expert's."""
    from hepacast.imaging import read_volume

    own, true = (np.rint(np.asarray(read_volume(path).array)).astype(int) for path in (found, expert))

    def overlap(a: Any, b: Any) -> float:
        return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())

    return {"liver": overlap(own > 0, true > 0), "tumor": overlap(own == 2, true == 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "hepacast-predict")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    image, expert = (given.data / CT, given.data / MASK) if given.data.is_dir() else (given.data, None)
    scan, bundle = dicom_folder(image, given.work / "dicom"), bundle_of_phantoms(given.work / "study")
    code = "import sys, json; from hepacast.bundle import Bundle; b = Bundle.read(sys.argv[1]); "
    code += "print(json.dumps(b.clinical_names(b.main)))"
    command = [sys.executable, "-c", code, str(bundle)]
    unknown = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    results: dict[str, Any] = {}
    for engine in given.engines.split(","):
        out = given.work / f"out-{engine}"
        arguments = ["predict", str(bundle), "--image", str(scan), "--segmenter", ENGINES[engine], "--out", str(out)]
        arguments += [word for name in unknown for word in ("--labs", f"{name}=NA")]
        result = results[engine] = predicted(arguments, given.threads)
        print(f"{engine}: {result['cpu']:.1f} CPU s, {result['wall']:.1f} s of wall, {result['peak_mb']:.0f} MB")
        rest = [result["cpu"], result["wall"]]
        for stage in STAGES:
            cpu, wall = result["stages"].get(stage, [0.0, 0.0])
            rest = [rest[0] - cpu, rest[1] - wall]
            print(f"  {stage:36} {cpu:6.1f} CPU s {wall:6.1f} s")
        print(f"  {'start, imports, rest':36} {rest[0]:6.1f} CPU s {rest[1]:6.1f} s")
        if expert is not None:
            result["dice"] = dice(out / "mask.nii.gz", expert)
            print("  Dice " + ", ".join(f"{name} {value:.4f}" for name, value in result["dice"].items()), flush=True)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        import resource

        place = Path(sys.argv[2])
        try:
            child(sys.argv[4:], place)
        finally:
            used = resource.getrusage(resource.RUSAGE_SELF)
            place.with_suffix(".usage").write_text(
                json.dumps({"cpu": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024})
            )
    else:
        main()
