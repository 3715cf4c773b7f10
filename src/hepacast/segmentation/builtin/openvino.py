"""The two pretrained U-Nets computed by OpenVINO (optional): half the time on a CPU, a quarter in bfloat16.

OpenVINO's normalization (MVN) sums naively in single precision, which is 0.2 % off over the millions of voxels of the
liver network: it is done twice in a row, so that the second corrects what the first left. Its sums also depend on how
many threads share one image: one thread computes one image here, and several images are computed side by side. Masks
are those of the PyTorch networks but for single voxels; engine and precision are part of the segmenter's identity all
the same.
"""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.optional import require
from hepacast.errors import ModelError
from hepacast.segmentation.builtin.network import EPSILON, SLOPE, Architecture

#: Engine by the segmenter's argument: OpenVINO's name of the precision.
PRECISIONS = {"openvino": "f32", "openvino-bf16": "bf16"}

Weights = Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]


class OpenvinoUNet:
    """One of the two networks with its weights.

    Parameters
    ----------
    architecture
        `LIVER` or `LESION`.
    weights
        From `read_weights`.
    precision
        ``f32`` or ``bf16``.
    side_by_side
        Images that may be computed at once (from as many threads of the caller); the numbers do not depend on it.

    Raises
    ------
    MissingPackageError
        OpenVINO is not installed.
    ModelError
        The processor does not compute in bfloat16.
    """

    def __init__(self, architecture: Architecture, weights: Weights, precision: str, side_by_side: int = 1) -> None:
        core = openvino_core(precision)
        self.architecture = architecture
        self.side_by_side = side_by_side
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": side_by_side,
            "INFERENCE_NUM_THREADS": side_by_side,
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = core.compile_model(_Graph(architecture, weights).model(), "CPU", settings)
        self._own = threading.local()

    def __call__(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probability map of one normalized input (x, y, z); smaller by the margin on each side."""
        tensor = np.ascontiguousarray(image, dtype=np.float32)[None, None]
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        return np.array(self._own.request.infer([tensor])[0][0, 0], dtype=np.float32)


def openvino_core(precision: str) -> Any:
    """OpenVINO's entry, where it is installed and the processor computes in the precision (``f32`` or ``bf16``).

    Raises
    ------
    MissingPackageError
        OpenVINO is not installed.
    ModelError
        The processor does not compute in bfloat16.
    """
    core = require_openvino().Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise no_bfloat16()
    return core


def no_bfloat16() -> ModelError:
    """The processor lacks what a study or a model was made with."""
    return ModelError(
        "This processor does not compute in bfloat16.",
        expected="a CPU with AVX512_BF16 or AMX, as the study or the model was made with",
        remedy="use builtin:openvino (single precision) or builtin; the masks are another segmenter's then",
    )


def require_openvino() -> Any:
    """OpenVINO without its telemetry: unless a stand-in is there, importing it reports the use to its makers.

    Raises
    ------
    MissingPackageError
        OpenVINO is not installed.
    """
    if "openvino_telemetry" not in sys.modules:
        silent: Any = types.ModuleType("openvino_telemetry")
        silent.Telemetry = _Silent
        sys.modules["openvino_telemetry"] = silent
    return require("openvino", purpose="The built-in networks by OpenVINO", extra="speed")


class _Silent:
    """Takes every message and sends none."""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        pass

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_options: None


class _Graph:
    """The network as OpenVINO's operations; the same order as `PretrainedUNet`."""

    def __init__(self, architecture: Architecture, weights: Weights) -> None:
        import openvino.opset13 as ops

        self.ops, self.shape = ops, architecture
        self.layers = iter(weights)

    def model(self) -> Any:
        """From (1, 1, x, y, z) to the probability map."""
        import openvino

        ops, shape = self.ops, self.shape
        image = ops.parameter([1, 1, *shape.input_size], np.float32)
        path, skips = image, []
        for level in range(4):
            if level:
                window = [shape.factor] * 3
                path = ops.max_pool(path, window, [1] * 3, [0] * 3, [0] * 3, window, "floor").output(0)
            path = self._block(path, plain_start=level == 0)
            if level < 3:
                skips.append(path)
        while skips:
            path = self._upsample(path)
            path = self._block(ops.concat([self._center(skips.pop(), _size(path)), path], 1))
        return openvino.Model([ops.sigmoid(self._convolve(path, padded=False))], [image], shape.name)

    def _block(self, start: Any, plain_start: bool = False) -> Any:
        path = self._convolve(start, normalize=not plain_start)
        path = self._convolve(path)
        if not self.shape.residual:
            return path
        shortcut = self._center(start, _size(path))
        if _channels(start) != _channels(path):
            shortcut = self._convolve(shortcut, padded=False, normalize=False)
        return self.ops.add(path, shortcut)

    def _convolve(self, path: Any, *, padded: bool | None = None, normalize: bool = True) -> Any:
        ops = self.ops
        kernel, bias = next(self.layers)
        if normalize:
            axes = np.array([2, 3, 4], dtype=np.int64)
            for _ in range(2):
                path = ops.mvn(path, axes, True, EPSILON, "outside_sqrt")
            path = ops.prelu(path, np.array([SLOPE], dtype=np.float32))
        pads = [side // 2 if (self.shape.padded if padded is None else padded) else 0 for side in kernel.shape[2:]]
        made = ops.convolution(path, np.ascontiguousarray(kernel, dtype=np.float32), [1] * 3, pads, pads, [1] * 3)
        return ops.add(made, np.asarray(bias, dtype=np.float32).reshape(1, -1, 1, 1, 1))

    def _upsample(self, path: Any) -> Any:
        ops, factor, linear = self.ops, self.shape.factor, self.shape.linear
        size = [factor * (side - 1) + 1 if linear else factor * side for side in _size(path)]
        return ops.interpolate(
            path,
            np.array(size, dtype=np.int64),
            "linear_onnx" if linear else "nearest",
            "sizes",
            coordinate_transformation_mode="align_corners" if linear else "asymmetric",
            nearest_mode="floor",
            axes=np.array([2, 3, 4], dtype=np.int64),
        )

    def _center(self, tensor: Any, size: Sequence[int]) -> Any:
        have = _size(tensor)
        if list(size) == have:
            return tensor
        starts = [(a - b) // 2 for a, b in zip(have, size, strict=True)]
        stops = [start + want for start, want in zip(starts, size, strict=True)]
        axes = np.array([2, 3, 4], dtype=np.int64)
        return self.ops.slice(tensor, np.array(starts), np.array(stops), np.array([1, 1, 1]), axes)


def _size(node: Any) -> list[int]:
    return [int(side) for side in _shape(node)[2:]]


def _channels(node: Any) -> int:
    return int(_shape(node)[1])


def _shape(node: Any) -> Any:
    return node.get_output_shape(0) if hasattr(node, "get_output_shape") else node.get_shape()
