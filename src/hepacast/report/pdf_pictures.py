"""Pictures of a PDF: a PNG's pixels go in as they lie compressed in its file, for PDF knows PNG's compression.

Unpacking them and packing them again, once for each time that a document is set, took a fifth of a report's time, and
as text for wires of seven bits half of a page's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Eight bits a channel, three channels, the only compression and filtering that there is, rows in their order.
_PLAIN = (8, 2, 0, 0, 0)


@contextmanager
def binary_streams() -> Iterator[None]:
    """Inside the block, documents hold pages, pictures and fonts as they are, not as text for wires of seven bits."""
    from reportlab import rl_config

    before, rl_config.useA85 = rl_config.useA85, 0
    try:
        yield
    finally:
        rl_config.useA85 = before


def png_picture(path: Path, width: float, height: float) -> Any:
    """A PNG of eight bits red, green and blue, as a flowable of this size [points]."""
    return _flowable()(path, width, height)


@cache
def _flowable() -> Any:
    from reportlab.platypus import Flowable

    class PackedPng(Flowable):  # type: ignore[misc]
        def __init__(self, path: Path, width: float, height: float) -> None:
            super().__init__()
            self.path, self.width, self.height, self.hAlign = path, width, height, "CENTER"

        def draw(self) -> None:
            document, name = self.canv._doc, f"picture-{self.path.name}"
            if not self.canv.hasForm(name):
                document.addForm(name, _pixels(self.path))
            self.canv.saveState()
            self.canv.scale(self.width, self.height)
            self.canv.doForm(name)
            self.canv.restoreState()

    return PackedPng


def png_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels.

    Raises
    ------
    ValueError
        It is no PNG of eight bits red, green and blue, as `save_figure` writes them.
    """
    with path.open("rb") as file:
        head = file.read(29)
    width, height, *kind = struct.unpack(">II5B", head[16:]) if len(head) == 29 else (0, 0)
    if not head.startswith(_SIGNATURE) or tuple(kind) != _PLAIN:
        raise ValueError(f"no PNG of eight bits red, green and blue: {path.name}")
    return width, height


def _pixels(path: Path) -> Any:
    """The file's pixels as an object of a PDF."""
    from reportlab.pdfbase.pdfdoc import PDFDictionary, PDFName, PDFStream

    width, height = png_size(path)
    content = path.read_bytes()
    place, packed = len(_SIGNATURE), b""
    while place < len(content):
        length, name = struct.unpack(">I4s", content[place : place + 8])
        packed += content[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        place += length + 12
    # Predictors from 10: each row begins with the filter that PNG used.
    rows = PDFDictionary({"Predictor": 15, "Colors": 3, "BitsPerComponent": 8, "Columns": width})
    told = {"Type": PDFName("XObject"), "Subtype": PDFName("Image"), "Width": width, "Height": height,
            "BitsPerComponent": 8, "ColorSpace": PDFName("DeviceRGB"), "Filter": PDFName("FlateDecode"),
            "DecodeParms": rows}  # fmt: skip
    return PDFStream(PDFDictionary(told), packed)
