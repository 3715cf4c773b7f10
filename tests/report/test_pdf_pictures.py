"""Pictures go into a PDF as they lie compressed in their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pypdf
import pytest
from PIL import Image
from reportlab.platypus import SimpleDocTemplate

from hepacast.report.pdf_pictures import binary_streams, png_picture, png_size


def test_pixels_are_those_of_the_file_and_are_packed_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (41, 67, 3), dtype=np.uint8)
    smooth = np.broadcast_to(np.arange(300, dtype=np.uint8)[:, None, None], (300, 200, 3))
    files = []
    for name, pixels in (("noise", noise), ("smooth", smooth)):
        files.append(tmp_path / f"{name}.png")
        Image.fromarray(np.ascontiguousarray(pixels)).save(files[-1])
    assert [png_size(file) for file in files] == [(67, 41), (200, 300)]
    with binary_streams():
        story = [png_picture(file, 67.0, 41.0) for file in (files[0], files[0], files[1])]
        SimpleDocTemplate(str(tmp_path / "a.pdf")).build(story)
    (page,) = pypdf.PdfReader(tmp_path / "a.pdf").pages
    assert page["/Contents"].get_object()["/Filter"] == ["/FlateDecode"]
    found = {image.image.size: np.asarray(image.image) for image in page.images}
    assert len(page.images) == 2  # drawn twice, held once
    np.testing.assert_array_equal(found[67, 41], noise)
    np.testing.assert_array_equal(found[200, 300], smooth)


@pytest.mark.parametrize("mode", ["RGBA", "L", "GIF"])
def test_another_kind_of_picture_is_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB" if mode == "GIF" else mode, (5, 4)).save(path, format="GIF" if mode == "GIF" else "PNG")
    with pytest.raises(ValueError, match=r"eight bits"):
        png_size(path)
