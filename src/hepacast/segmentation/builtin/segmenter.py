"""`BuiltinSegmenter`: liver and liver lesions in a CT by pretrained networks, with no training."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.executor import available_cores
from hepacast.core.hashing import hash_value
from hepacast.core.optional import require
from hepacast.errors import ImageError, StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.labels import LabelMap
from hepacast.segmentation.axes import turn
from hepacast.segmentation.base import LabelMapResult, Progress, SegmentationCost, parenchyma_tumor_map
from hepacast.segmentation.builtin.lesion import find_lesions
from hepacast.segmentation.builtin.liver import find_liver
from hepacast.segmentation.builtin.network import LESION, LIVER, Architecture, PretrainedUNet, read_weights
from hepacast.segmentation.builtin.openvino import PRECISIONS, OpenvinoUNet, no_bfloat16, openvino_core
from hepacast.segmentation.builtin.weights import MEMBERS, PACKAGE, VERSION, weight_files
from hepacast.segmentation.devices import default_device, torch_threads

CITATIONS = (
    "Tang X, Jafargholi Rangraz E, Coudyzer W, et al. Whole liver segmentation based on deep learning and manual "
    "adjustment for clinical use in SIRT. Eur J Nucl Med Mol Imaging 2020;47:2742-2752.",
    "Robben D, Bertels J, Willems S, Vandermeulen D, Maes F, Suetens P. DeepVoxNet: voxel-wise prediction for 3D "
    "images. KU Leuven, report KUL/ESAT/PSI/1801, 2018.",
)

#: Counts up when the masks of the same weights change (2: cut scans are continued, several boxes;
#: 3: a second look from nearby, the most plausible liver is taken, mirrored and turned scans; 4: several looks at a
#: liver that the scan's upper end cuts; 5: the ends of a scan take nothing of a liver, and its pieces there are kept;
#: 6: HU part a cut liver from what lies beside it; 7: of a cut liver levels in even steps of logit, and lobes that
#: one look found).
METHOD = 7

_ENGINE_WORDS = {
    "torch-bf16": "PyTorch in bfloat16",
    "openvino": "OpenVINO in single precision",
    "openvino-bf16": "OpenVINO in bfloat16",
}

#: What computes the networks.
ENGINES = ("torch", "torch-bf16", *PRECISIONS)

#: Tiles of the lesion network that are computed side by side, at most: each takes about a gigabyte.
_MOST_TILES = 4

# Measured on two cores of an AMD EPYC 7003: core-seconds of the liver network, of a tile of the lesion network.
_LIVER_CORE_SECONDS = 35.0
_TILE_CORE_SECONDS = 13.0


class BuiltinSegmenter:
    """Liver (parenchyma and tumor) in a CT, by the pretrained networks of ``pyliverlesionseg`` 0.3.

    Parameters
    ----------
    lesions
        Look for lesions too; otherwise the result holds ``liver`` only.
    weights
        The wheel file, for a computer without internet.
    cache
        Where weights are kept.
    threads
        PyTorch's threads, or tiles that OpenVINO computes side by side; None takes what the computer has.
    device
        ``cpu`` or ``cuda``; by default the GPU if there is one.
    engine
        ``torch``, ``openvino`` (both in single precision), ``torch-bf16`` or ``openvino-bf16``. A part of the
        segmenter's identity: masks of two engines differ in single voxels.

    Notes
    -----
    The networks were trained on portal-venous and arterial CT (and MR) of patients treated for liver tumors; they
    find lesions of any kind, and every lesion is called ``tumor`` here. Look at the masks before using them.
    """

    name = "builtin"

    def __init__(
        self,
        *,
        lesions: bool = True,
        weights: str | Path | None = None,
        cache: str | Path | None = None,
        threads: int | None = None,
        device: str | None = None,
        engine: str = "torch",
    ) -> None:
        _require_known(engine)
        self._engine = engine
        self._lesions = lesions
        self._weights, self._cache = weights, cache
        self._threads, self._device = threads, device
        self.structures: tuple[str, ...] = ("parenchyma", "tumor", "liver") if lesions else ("liver",)
        self._networks: dict[str, PretrainedUNet | OpenvinoUNet] = {}

    def describe(self) -> dict[str, Any]:
        """Facts for the report."""
        what = "Liver and liver lesions were" if self._lesions else "The liver was"
        engine = "" if self._engine == "torch" else f", computed by {_ENGINE_WORDS[self._engine]}"
        return {
            "source": self.name,
            "version": f"{PACKAGE} {VERSION}",
            "identity": hash_value(
                [VERSION, [digest for _, digest in MEMBERS.values()], self._lesions, METHOD]
                + ([] if self._engine == "torch" else [self._engine])
            ),
            "structures": list(self.structures),
            "sentence": f"{what} segmented by the pretrained networks of {PACKAGE} {VERSION} (KU Leuven){engine}.",
            "citations": list(CITATIONS),
            "network": None,
        }

    def estimate(self, volume: Volume) -> SegmentationCost:
        """Time on this machine's CPU cores, and peak memory (the liver network's field has a fixed size)."""
        cores = self._threads or os.cpu_count() or 1
        extent = [n * mm for n, mm in zip(volume.geometry.size, volume.spacing, strict=True)]
        # Of the box around a liver: about 220 x 200 x 180 mm, or less where the scan is smaller.
        sides = zip((220.0, 200.0, 180.0), extent, LESION.output_size, LESION.voxel_mm, strict=True)
        tiles = np.prod([np.ceil(min(most, size) / (out * mm)) for most, size, out, mm in sides])
        seconds = _LIVER_CORE_SECONDS + (float(tiles) * _TILE_CORE_SECONDS if self._lesions else 0.0)
        seconds *= {"torch": 1.0, "torch-bf16": 0.55, "openvino": 0.53, "openvino-bf16": 0.25}[self._engine]
        seconds += volume.array.size * 4e-7
        return SegmentationCost(seconds / cores, int(2.4e9 + volume.array.size * 14))

    def prepare(self) -> None:
        """Load both networks, which may be done while an image is read; raises what `segment` does of them."""
        require_engine(self._engine)
        for name, architecture in {"liver": LIVER, **({"lesion": LESION} if self._lesions else {})}.items():
            self._network(name, architecture)

    def segment(
        self, volume: Volume, *, liver: Volume | None = None, progress: Progress | None = None
    ) -> LabelMapResult:
        """Segment one CT.

        Parameters
        ----------
        volume
            CT in HU.
        liver
            A liver mask to use in the place of the network's (an expert's).
        progress
            Told the share done.

        Raises
        ------
        ImageError
            No body is found (not a CT in HU), there are fewer slices than three (of thin ones: than make three of
            3 mm), or the given liver mask is empty.
        GeometryError
            The given liver mask lies on another grid.
        ModelError
            The weights cannot be had.
        MissingPackageError
            PyTorch or h5py is not installed.
        """
        require_engine(self._engine)
        start = time.perf_counter()
        report = progress or (lambda share, message: None)
        with nullcontext() if self._engine in PRECISIONS else torch_threads(self._threads):
            mask, notes = self._liver(volume, liver, report)
            if not self._lesions:
                labelmap = LabelMap(mask.with_array(mask.array.astype(np.uint8)), {"liver": 1})
            else:
                labelmap, found = self._tumor(volume, mask, liver is not None, report)
                notes += found
        report(1.0, "done")
        return LabelMapResult(labelmap, self.name, time.perf_counter() - start, notes)

    def _liver(
        self, volume: Volume, liver: Volume | None, report: Callable[[float, str], None]
    ) -> tuple[Volume, tuple[str, ...]]:
        if liver is not None:
            volume.geometry.require_same(liver.geometry, what="the liver mask")
            mask = volume.with_array(liver.array != 0)
            if not mask.array.any():
                raise ImageError("The given liver mask is empty.", expected="a liver to look for lesions in")
            return mask, ("the given liver mask was used",)
        turned = turn(volume, "LPS")
        share = 0.4 if self._lesions else 1.0
        found, notes = find_liver(
            self._network("liver", LIVER),
            _measured(turned.array),
            turned.spacing,
            lambda done, message: report(done * share, message),
        )
        return volume.with_array(turned.back(found)), notes if found.any() else ("no liver was found",)

    def _tumor(
        self, volume: Volume, liver: Volume, given: bool, report: Callable[[float, str], None]
    ) -> tuple[LabelMap, tuple[str, ...]]:
        if not liver.array.any():
            return parenchyma_tumor_map(liver, liver), ()
        before = 0.0 if given else 0.4
        turned = turn(volume, "LPS")
        network = self._network("lesion", LESION)
        found = find_lesions(
            network,
            _measured(turned.array),
            turned.like(liver.array),
            turned.spacing,
            lambda done, message: report(before + done * (1 - before), message),
            side_by_side=network.side_by_side,
        )
        tumor = volume.with_array(turned.back(found) & liver.array)
        notes = () if tumor.array.any() else ("no lesion was found in the liver",)
        return parenchyma_tumor_map(liver, tumor), notes

    def _network(self, name: str, architecture: Architecture) -> PretrainedUNet | OpenvinoUNet:
        if name not in self._networks:
            path = weight_files(self._weights, self._cache)[name]
            weights = read_weights(path, architecture)
            if self._engine in PRECISIONS:
                tiles = 1 if architecture is LIVER else min(_MOST_TILES, self._threads or available_cores())
                self._networks[name] = OpenvinoUNet(architecture, weights, PRECISIONS[self._engine], tiles)
            else:
                precision = "bf16" if self._engine == "torch-bf16" else "f32"
                self._networks[name] = PretrainedUNet(
                    architecture, weights, self._device or default_device(), precision
                )
        return self._networks[name]


def _measured(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """HU in single precision; what was not measured (NaN outside the field of view) is air."""
    return np.nan_to_num(array.astype(np.float32), copy=False, nan=-1024.0, posinf=3071.0, neginf=-1024.0)


def _require_known(engine: str) -> None:
    if engine not in ENGINES:
        raise StudyFileError(
            f"The built-in networks have no engine {engine!r}.", expected=", ".join(ENGINES), found=engine
        )


def require_engine(engine: str) -> None:
    """Whether this computer has an engine of `ENGINES`, in its precision.

    Raises
    ------
    StudyFileError
        There is no such engine.
    MissingPackageError
        Its package is not installed.
    ModelError
        The processor does not compute in bfloat16.
    """
    _require_known(engine)
    if engine in PRECISIONS:
        openvino_core(PRECISIONS[engine])
        return
    torch = require("torch", purpose="The built-in segmenter", extra="seg")
    # Emulated it would be slower than single precision, and of other digits.
    if default_device() == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    if engine == "torch-bf16" and not native:
        raise no_bfloat16()
