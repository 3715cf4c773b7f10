"""IBSI's intensity families: statistics, histogram, intensity-volume histogram, local peaks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.ibsi.names import HISTOGRAM
from hepacast.radiomics.ibsi.parameters import IbsiParameters
from hepacast.radiomics.ibsi.process import Array, IbsiVoi
from hepacast.radiomics.parameters import Parameters

#: Radius of a sphere of 1 cm^3, mm.
PEAK_RADIUS_MM = (3 / (4 * np.pi)) ** (1 / 3) * 10


def statistics(values: Array) -> dict[str, float]:
    """Intensity statistics (section 3.3), also used for the histogram of gray levels."""
    mean, variance = float(values.mean()), float(values.var())
    p10, p25, p50, p75, p90 = (float(value) for value in np.percentile(values, [10, 25, 50, 75, 90]))
    centered = values - mean
    flat = variance == 0
    robust = values[(values >= p10) & (values <= p90)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "mean": mean,
            "var": variance,
            "skew": 0.0 if flat else float((centered**3).mean() / variance**1.5),
            "kurt": 0.0 if flat else float((centered**4).mean() / variance**2 - 3),
            "median": p50,
            "min": float(values.min()),
            "p10": p10,
            "p90": p90,
            "max": float(values.max()),
            "iqr": p75 - p25,
            "range": float(np.ptp(values)),
            "mad": float(np.abs(centered).mean()),
            "rmad": float(np.abs(robust - robust.mean()).mean()),
            "medad": float(np.abs(values - p50).mean()),
            "cov": float(np.sqrt(variance) / np.float64(mean)),
            "qcod": float(np.float64(p75 - p25) / np.float64(p75 + p25)),
            "energy": float((values**2).sum()),
            "rms": float(np.sqrt((values**2).mean())),
        }


def histogram(levels: npt.NDArray[np.int64], n_levels: int) -> dict[str, float]:
    """Intensity histogram (section 3.4) of the gray levels of the VOI's voxels."""
    result = statistics(levels.astype(np.float64))
    counts = np.bincount(levels, minlength=n_levels + 1)[1 : n_levels + 1].astype(np.float64)
    p = counts[counts > 0] / counts.sum()
    most = np.flatnonzero(counts == counts.max()) + 1
    result["mode"] = float(most[np.argmin(np.abs(most - result["mean"]))])
    result["entropy"] = float(-(p * np.log2(p)).sum())
    result["uniformity"] = float((p**2).sum())
    gradient = np.gradient(counts) if len(counts) > 1 else np.zeros(1)
    result["max_grad"] = float(gradient.max())
    result["max_grad_g"] = float(np.argmax(gradient) + 1)
    result["min_grad"] = float(gradient.min())
    result["min_grad_g"] = float(np.argmin(gradient) + 1)
    return {name: result[name] for name in HISTOGRAM}


def volume_histogram(values: Array, parameters: Parameters, ibsi: IbsiParameters) -> dict[str, float]:
    """Intensity-volume histogram (section 3.5).

    Intensities with a unit count as they are (steps of 1), or as the centers of narrow bins; without a unit as
    numbers of bins.
    """
    if ibsi.ivhBinCount is not None:
        least, span = values.min(), np.ptp(values)
        share = np.floor(ibsi.ivhBinCount * (values - least) / span) if span > 0 else np.zeros(values.size)
        used = np.minimum(share + 1, ibsi.ivhBinCount)
        grid = np.arange(1.0, ibsi.ivhBinCount + 1)
    elif ibsi.ivhBinWidth is not None:
        bounds = parameters.resegmentRange
        low = bounds[0] if bounds is not None else float(values.min())
        high = bounds[1] if bounds is not None and len(bounds) == 2 else float(values.max())
        width = ibsi.ivhBinWidth
        used = low + (np.floor((values - low) / width) + 0.5) * width
        grid = np.arange(low + 0.5 * width, high, width)
    else:
        bounds = parameters.resegmentRange
        low = bounds[0] if bounds is not None else float(values.min())
        high = bounds[1] if bounds is not None and len(bounds) == 2 else float(values.max())
        used = values
        grid = np.arange(low, high + 1)
    ordered = np.sort(used)
    volume = 1 - np.searchsorted(ordered, grid, side="left") / len(ordered)
    span = grid[-1] - grid[0]
    share = (grid - grid[0]) / span if span > 0 else np.zeros(len(grid))

    def at_intensity(fraction: float) -> float:
        return float(volume[share >= fraction - 1e-12].max(initial=0.0))

    def at_volume(fraction: float) -> float:
        enough = np.flatnonzero(volume <= fraction)
        return float(grid[enough[0]]) if len(enough) else float("nan")

    result = {"v10": at_intensity(0.1), "v90": at_intensity(0.9), "i10": at_volume(0.1), "i90": at_volume(0.9)}
    result["diff_v10_v90"] = result["v10"] - result["v90"]
    result["diff_i10_i90"] = result["i10"] - result["i90"]
    return result


def local_peaks(voi: IbsiVoi) -> dict[str, float]:
    """Local and global intensity peak (section 3.2): means over spheres of 1 cm^3, voxels outside the VOI included."""
    from scipy.signal import fftconvolve

    reach = [int(np.floor(PEAK_RADIUS_MM / step)) for step in voi.spacing]
    axes = np.meshgrid(*[np.arange(-n, n + 1) * step for n, step in zip(reach, voi.spacing)], indexing="ij")
    sphere = (sum(axis**2 for axis in axes) <= PEAK_RADIUS_MM**2).astype(np.float64)
    places = np.argwhere(voi.intensity)
    low = np.maximum(places.min(axis=0) - reach, 0)
    high = np.minimum(places.max(axis=0) + np.array(reach) + 1, voi.image.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    image, inside = voi.image[box], voi.intensity[box]
    total = fftconvolve(image, sphere, mode="same")
    count = np.rint(fftconvolve(np.ones(image.shape), sphere, mode="same"))
    mean = total / np.maximum(count, 1)
    brightest = inside & (image == image[inside].max())
    return {"peak_loc": float(mean[brightest].max()), "peak_glob": float(mean[inside].max())}
