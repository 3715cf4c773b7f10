"""The convolutional filters of IBSI 2: mean, LoG, Laws, Gabor, separable and Simoncelli wavelets, Riesz transforms.

All are checked against the consensus response maps of the standard's first phase.
"""

from __future__ import annotations

from math import factorial
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepacast.radiomics.ibsi.convolution import (
    Array,
    Border,
    Kernel,
    along,
    centered,
    flipped,
    full,
    padded,
    pooled,
    separable,
    turned,
)

Positive = Annotated[float, Field(gt=0)]

#: Laws' kernels, normalized to length 1.
LAWS: dict[str, Array] = {
    "L3": np.array([1, 2, 1]) / np.sqrt(6),
    "E3": np.array([-1, 0, 1]) / np.sqrt(2),
    "S3": np.array([-1, 2, -1]) / np.sqrt(6),
    "L5": np.array([1, 4, 6, 4, 1]) / np.sqrt(70),
    "E5": np.array([-1, -2, 0, 2, 1]) / np.sqrt(10),
    "S5": np.array([-1, 0, 2, 0, -1]) / np.sqrt(6),
    "W5": np.array([-1, 2, 0, -2, 1]) / np.sqrt(10),
    "R5": np.array([1, -4, 6, -4, 1]) / np.sqrt(70),
}


class FilterParameters(BaseModel):
    """One filter, as the ``filter`` entry of the section ``ibsi``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mean", "log", "laws", "gabor", "wavelet", "simoncelli"] = Field(description="the filter")
    bySlice: bool = Field(False, description="filter slice by slice")
    border: Border = Field("mirror", description="what lies beyond the image")
    support: Annotated[int, Field(ge=1)] = Field(15, description="mean: voxels along each axis, odd")
    sigma: Positive = Field(3.0, description="LoG, Gabor: width, mm")
    cutoff: Positive = Field(4.0, description="LoG: the kernel ends at so many sigma")
    kernels: tuple[str, ...] = Field((), description="Laws: a kernel along each of x, y, z, such as [L5, E5, E5]")
    rotationInvariant: bool = Field(False, description="Laws, Gabor, wavelet: pool over rotations")
    pooling: Literal["max", "average"] = Field("average", description="how rotations are pooled")
    energyRadius: Annotated[int, Field(ge=1)] | None = Field(None, description="Laws: mean |response| in this radius")
    wavelength: Positive = Field(4.0, description="Gabor: wavelength, mm")
    aspect: Positive = Field(1.0, description="Gabor: aspect ratio gamma")
    angle: float = Field(0.0, description="Gabor: orientation, degrees; the step between them if rotation invariant")
    orthogonalPlanes: bool = Field(False, description="Gabor: average over the three planes")
    wavelet: str = Field("coif1", description="wavelet: PyWavelets' name")
    letters: str = Field("LLL", pattern="^[LH]{2,3}$", description="wavelet: low or high pass along x, y, z")
    level: Annotated[int, Field(ge=1)] = Field(1, description="wavelet, Simoncelli: level")
    riesz: tuple[int, int, int] | None = Field(None, description="LoG, Simoncelli: orders of a Riesz transform")


def response(image: Array, spacing: tuple[float, float, float], chosen: FilterParameters) -> Array:
    """The response map of an image [k, j, i] with voxels of `spacing` (k, j, i), mm."""
    if chosen.kind == "mean":
        box = centered(np.full(chosen.support, 1 / chosen.support))
        return separable(image, [box, box, None if chosen.bySlice else box], chosen.border)
    if chosen.kind == "log":
        return _log(image, spacing, chosen)
    if chosen.kind == "laws":
        return _laws(image, chosen)
    if chosen.kind == "gabor":
        return _gabor(image, spacing, chosen)
    if chosen.kind == "wavelet":
        return _wavelet(image, chosen)
    return _in_frequency(image, chosen, lambda axes: _simoncelli(axes, chosen.level))


def log_kernel(sigmas: tuple[float, ...], cutoff: float) -> Array:
    """Laplacian-of-Gaussian kernel; `sigmas` in voxels along the kernel's axes (0: an axis of length 1)."""
    used = [sigma for sigma in sigmas if sigma > 0]
    axes = [np.arange(-n, n + 1) for n in (int(np.floor(cutoff * sigma + 0.5)) for sigma in sigmas)]
    places = np.meshgrid(*axes, indexing="ij")
    scaled = sum((place / sigma) ** 2 for place, sigma in zip(places, sigmas) if sigma > 0)
    norm = np.prod([1 / (np.sqrt(2 * np.pi) * sigma) for sigma in used])
    curvature = sum(((place / sigma) ** 2 - 1) / sigma**2 for place, sigma in zip(places, sigmas) if sigma > 0)
    return np.asarray(norm * curvature * np.exp(-scaled / 2))


def _log(image: Array, spacing: tuple[float, float, float], chosen: FilterParameters) -> Array:
    sigmas = [chosen.sigma / step for step in spacing]
    kernel = log_kernel((0.0 if chosen.bySlice else sigmas[0], sigmas[1], sigmas[2]), chosen.cutoff)
    if chosen.riesz is None:
        return full(image, kernel, chosen.border)

    def transfer(axes: list[Array]) -> Array:
        shape = [len(axis) for axis in axes]
        whole = np.zeros(shape)
        whole[tuple(slice(length) for length in kernel.shape)] = kernel
        return np.fft.fftn(np.roll(whole, [-(length // 2) for length in kernel.shape], axis=(0, 1, 2)))

    return _in_frequency(image, chosen, transfer)


def _laws(image: Array, chosen: FilterParameters) -> Array:
    kernels: list[Kernel] = [centered(LAWS[name]) for name in chosen.kernels]
    if chosen.rotationInvariant:
        turns = turned(kernels, chosen.bySlice)
        result = pooled((separable(image, turn, chosen.border) for turn in turns), chosen.pooling)
    else:
        result = separable(image, [*kernels, *[None] * (3 - len(kernels))], chosen.border)
    if chosen.energyRadius is None:
        return result
    box = centered(np.full(2 * chosen.energyRadius + 1, 1 / (2 * chosen.energyRadius + 1)))
    return separable(np.abs(result), [box, box, None if chosen.bySlice else box], chosen.border)


def _gabor(image: Array, spacing: tuple[float, float, float], chosen: FilterParameters) -> Array:
    """Modulus of Gabor responses in the slices, or averaged over the three planes."""
    planes = (0, 1, 2) if chosen.orthogonalPlanes else (0,)
    angles = np.arange(0, 180, chosen.angle) if chosen.rotationInvariant else np.array([chosen.angle])

    responses = []
    for plane in planes:
        # The plane's own axes keep their order: (rows, columns).
        steps = [step for axis, step in enumerate(spacing) if axis != plane]
        moved = _gabor_in_plane(np.moveaxis(image, plane, 0), steps[1], chosen, np.deg2rad(angles))
        responses.append(np.moveaxis(moved, 0, plane))
    return pooled(iter(responses), chosen.pooling)


def _gabor_in_plane(image: Array, step: float, chosen: FilterParameters, angles: Array) -> Array:
    """Modulus, pooled over angles; opposite angles have equal moduli, so half a turn is enough."""
    from scipy.fft import fft2, ifft2, next_fast_len

    sigma, wavelength = chosen.sigma / step, chosen.wavelength / step
    reach = int(np.ceil(7 * sigma * max(1.0, 1 / chosen.aspect)))
    extended = padded(image, (0, reach, reach), (0, reach, reach), chosen.border)
    rows, columns = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1), indexing="ij")
    # What wraps around lands in the extension, which is cut away.
    size = [next_fast_len(length) for length in extended.shape[1:]]
    spectra = []
    for angle in angles:
        u = columns * np.cos(angle) + rows * np.sin(angle)
        v = -columns * np.sin(angle) + rows * np.cos(angle)
        kernel = np.exp(-(u**2 + chosen.aspect**2 * v**2) / (2 * sigma**2) + 2j * np.pi * u / wavelength)
        spectra.append(fft2(kernel, size))
    cut = (slice(2 * reach, 2 * reach + image.shape[1]), slice(2 * reach, 2 * reach + image.shape[2]))
    result = np.empty(image.shape)
    for k, plane in enumerate(extended):
        spectrum = fft2(plane, size)
        result[k] = pooled((np.abs(ifft2(spectrum * one)[cut]) for one in spectra), chosen.pooling)
    return result


def _wavelet(image: Array, chosen: FilterParameters) -> Array:
    """Undecimated separable wavelet of one level; earlier levels are low pass (filters spread by zeros)."""
    import pywt

    filters = pywt.Wavelet(chosen.wavelet)
    taps = {"L": np.array(filters.dec_lo), "H": np.array(filters.dec_hi)}
    flat = len(chosen.letters) == 2
    kernels = [(axis,) for axis in range(len(chosen.letters))]

    def filtered(axes: list[tuple[int, int]]) -> Array:
        result = image
        for level in range(1, chosen.level + 1):
            for axis, (letter, sign) in zip((2, 1, 0), axes):
                name = chosen.letters[letter] if level == chosen.level else "L"
                spread = np.zeros(len(taps[name]) * 2 ** (level - 1))
                spread[:: 2 ** (level - 1)] = taps[name]
                kernel = centered(spread)
                result = along(result, kernel if sign > 0 else flipped(kernel), axis, chosen.border)
        return result

    if not chosen.rotationInvariant:
        return filtered([(axis, 1) for (axis,) in kernels])
    # Rotations are found as those of marked kernels: the mark tells the axis, its place the side.
    marks: list[Kernel] = [(np.array([axis + 1.0, 0.0]), 0) for (axis,) in kernels]
    turns = [
        [(int(mark[0].max()) - 1, 1 if mark[0][0] else -1) for mark in turn if mark is not None]
        for turn in turned(marks, flat)
    ]
    return pooled((filtered(turn) for turn in turns), chosen.pooling)


def _frequencies(shape: tuple[int, ...]) -> list[Array]:
    """IBSI's frequency grid: from -1 to 1 (Nyquist) along each axis, in the order of the FFT."""
    return [np.fft.ifftshift(np.linspace(-1, 1, length)) if length > 1 else np.zeros(1) for length in shape]


def _simoncelli(axes: list[Array], level: int) -> Array:
    """Isotropic band-pass of one level: cos(pi/2 log2(2 v / b)) for b/4 < v <= b, b = 2^(1 - level)."""
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    band = 0.5 ** (level - 1)
    inside = (radius > band / 4) & (radius <= band)
    result = np.zeros(radius.shape)
    result[inside] = np.cos(np.pi / 2 * np.log2(2 * radius[inside] / band))
    return result


def riesz_transfer(axes: list[Array], orders: tuple[int, int, int]) -> Array:
    """Transfer function of the Riesz transform of orders along (x, y, z)."""
    grid = np.meshgrid(*axes, indexing="ij")
    total = sum(orders)
    radius = np.sqrt(sum(axis**2 for axis in grid))
    scale = np.sqrt(factorial(total) / np.prod([factorial(order) for order in orders]))
    result = np.full(radius.shape, (-1j) ** total * scale)
    for axis, order in zip(grid[::-1], orders):
        result = result * axis**order
    return np.divide(result, radius**total, out=np.zeros_like(result), where=radius > 0)


def _in_frequency(image: Array, chosen: FilterParameters, transfer: object) -> Array:
    """Multiply the extended image's spectrum by a transfer function (and a Riesz transform).

    A periodic border needs no extension; others are extended by half the image on every side. Slices are filtered
    one by one where asked for.
    """
    if chosen.bySlice:
        plane = chosen.model_copy(update={"bySlice": False})
        return np.concatenate([_in_frequency(part[None], plane, transfer) for part in image])
    reach = [0 if chosen.border == "periodic" or length == 1 else length // 2 for length in image.shape]
    extended = padded(image, reach, reach, chosen.border)
    axes = _frequencies(extended.shape)
    spectrum = np.fft.fftn(extended) * transfer(axes)  # type: ignore[operator]
    if chosen.riesz is not None:
        spectrum *= riesz_transfer(axes, chosen.riesz)
    result = np.fft.ifftn(spectrum).real
    return result[tuple(slice(more, more + length) for more, length in zip(reach, image.shape))]
