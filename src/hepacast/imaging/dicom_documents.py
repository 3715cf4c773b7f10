"""DICOM out beside the SEG: a page (encapsulated PDF) and a picture (secondary capture) in the source's study."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.imaging.dicom_source import MANUFACTURER, NOT_FOR_CARE, UTF_8, Origin, SourceSeries, describe_result

_ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"


def make_pdf(page: Path, source: SourceSeries, origin: Origin, *, title: str, number: int) -> Any:
    """A PDF file as an instance.

    Parameters
    ----------
    title
        Of the document, for the list of the viewer.
    number
        Of its series.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = UID(_ENCAPSULATED_PDF), ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SpecificCharacterSet = UTF_8
    made.SOPClassUID, made.Modality, made.ConversionType = _ENCAPSULATED_PDF, "DOC", "WSD"
    describe_result(made, source, origin, "prediction page", number=number)
    made.AcquisitionDateTime = f"{made.ContentDate}{made.ContentTime}"
    made.BurnedInAnnotation, made.RecognizableVisualFeatures = "NO", "NO"
    made.DocumentTitle, made.ConceptNameCodeSequence = f"{title}, {NOT_FOR_CARE}"[:1024], []
    made.SourceInstanceSequence = [_reference(header) for header in source.headers]
    content = page.read_bytes()
    made.MIMETypeOfEncapsulatedDocument, made.EncapsulatedDocumentLength = "application/pdf", len(content)
    made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return made


def make_capture(picture: Path, source: SourceSeries, origin: Origin, *, number: int) -> Any:
    """A picture (PNG) of axial slices as a secondary capture."""
    from highdicom.sc import SCImage
    from PIL import Image

    with Image.open(picture) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    with warnings.catch_warnings():
        # highdicom's warnings about unusual person names would print the patient's name.
        warnings.simplefilter("ignore")
        made = SCImage.from_ref_dataset(
            ref_dataset=source.first,
            pixel_array=pixels,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "P"),
            series_instance_uid=origin.uid("overlay", "series"),
            series_number=number,
            sop_instance_uid=origin.uid("overlay", "instance"),
            instance_number=1,
            manufacturer=MANUFACTURER,
        )
    describe_result(made, source, origin, "overlay", number=number)
    made.BurnedInAnnotation, made.ImageType, made.Laterality = "NO", ["DERIVED", "SECONDARY"], ""
    made.DerivationDescription = "Masks drawn on axial slices"
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = made.ContentDate, made.ContentTime
    return made


def _reference(header: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return item
