"""What the deep stage finds out about its networks: Dice with paired tests, negative controls, maps of patients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hepacast.core.executor import available_cores, resolve_workers
from hepacast.core.seeds import derive_seed
from hepacast.deep import CrossFit, TrainedNetwork
from hepacast.errors import ModelError
from hepacast.imaging import Volume
from hepacast.modelling.targets import rank_limits, rank_measure, rank_p
from hepacast.segmentation.metrics import segmentation_metrics
from hepacast.stats.cox import fit_cox
from hepacast.stats.tests import wilcoxon_signed_rank
from hepacast.study.context import Context

if TYPE_CHECKING:
    from hepacast.study.stages.deep import DeepData

#: Sources of the study's masks that are a network's and can be compared with the deep networks.
_PREDICTED = {"nnunet": "nnU-Net"}
_CONTOUR_DIGITS = 4


def dice_rows(
    context: Context,
    data: DeepData,
    masks: np.ndarray | None,
    model: str,
    kind: str,
    *,
    on_expert: bool = False,
) -> list[dict[str, Any]]:
    """Dice, Hausdorff distance and volume of every patient who has an expert mask, on the crop's grid.

    Training patients are segmented by the network that did not see them. nnU-Net's masks, where the study has them,
    are compared on the same grid, once (beside the first network that segments). `on_expert`: the crops of `data` are
    centered on the experts' masks instead of the study's.
    """
    if masks is None:
        return []
    rows = []
    source = context.images.segmentation.source
    also = _PREDICTED.get(source) if kind != "multi-task" and not on_expert else None
    for row, patient in enumerate(data.patients):
        if not data.targets.masked[row]:
            continue
        geometry = data.geometry(row)
        reference = Volume(np.asarray(data.targets.masks[row], dtype=bool), geometry)
        made = {model: np.asarray(masks[row] >= 0.5)}
        if also is not None:
            made[also] = np.asarray(data.drawn[row], dtype=bool)
        for name, mask in made.items():
            found = segmentation_metrics(reference, Volume(mask, geometry))
            rows.append(
                {
                    "patient": patient,
                    "set": str(data.cohort.sets[patient]),
                    "model": name,
                    "dice": found.dice,
                    "hd95_mm": found.hd95_mm,
                    "volume_difference_pct": found.volume_difference_pct,
                    "status": found.status,
                    "on_expert": on_expert,
                }
            )
    return rows


def paired_dice(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Wilcoxon's signed-rank test of the Dice of the same patients, for each pair of networks and each set.

    On the study's own crops: those centered on experts' masks stand beside them and are not compared.
    """
    rows = [row for row in rows if not row["on_expert"]]
    names = list(dict.fromkeys(row["model"] for row in rows))
    sets = list(dict.fromkeys(row["set"] for row in rows))
    table = {(row["model"], row["set"], row["patient"]): row["dice"] for row in rows}
    tests = []
    for part in sets:
        patients = list(dict.fromkeys(row["patient"] for row in rows if row["set"] == part))
        for second, first in combinations(names, 2):
            a = np.array([table.get((first, part, patient), np.nan) for patient in patients], dtype=float)
            b = np.array([table.get((second, part, patient), np.nan) for patient in patients], dtype=float)
            both = np.isfinite(a) & np.isfinite(b)
            if both.sum() < 3:
                continue
            test = wilcoxon_signed_rank(a[both], b[both])
            tests.append(
                {
                    "set": part,
                    "first": first,
                    "second": second,
                    "n": int(both.sum()),
                    "mean_first": float(a[both].mean()),
                    "mean_second": float(b[both].mean()),
                    "difference": float((a - b)[both].mean()),
                    "p": test.p if test.ok else None,
                }
            )
    return tests


def control_rows(context: Context, data: DeepData, fit: CrossFit, model: str) -> list[dict[str, Any]]:
    """AUC or C of the out-of-fold scores on altered training images, each compared with the images as they are."""
    from hepacast.deep.controls import CONTROLS, control_scores

    inside = np.flatnonzero(fit.folds >= 0)
    scores = control_scores(
        fit, data.crops, data.drawn, data.targets.covariates, seed=derive_seed(context.study.seed, "controls")
    )
    level, y = context.study.evaluation.confidence, data.y[inside]
    rows = []
    for name, words in CONTROLS.items():
        own, first = scores[name][inside], scores["as it is"][inside]
        rows.append(
            {
                "model": model,
                "control": name,
                "words": words,
                "measure": rank_measure(y),
                "auc": rank_limits(y, own, level),
                "p": None if name == "as it is" else rank_p(y, first, own),
                "n": len(inside),
            }
        )
    return rows


def explained(context: Context, data: DeepData, fit: CrossFit, scores: np.ndarray, count: int) -> list[dict[str, Any]]:
    """Grad-CAM and occlusion of a few patients, as the slice of the largest tumor area.

    Of the set that is judged (external, then validation, then training): surest right and surest wrong, see
    `extreme_patients`. Maps are of what made the score: the mean of all networks' maps, or in the training set that of
    the one network that had not seen the patient.
    """
    names = set(data.cohort.sets)
    judged = next((name for name in ("external", "validation", "training") if name in names), "training")
    chosen = extreme_patients(data.rows(judged), data.event, scores, count)
    seen = {row: [fit.networks[int(fit.folds[row])]] if fit.folds[row] >= 0 else fit.networks for row, _ in chosen}
    maps = _maps(context, data, [(row, network) for row, _ in chosen for network in seen[row]])
    shown = []
    for row, why in chosen:
        mask, k = np.asarray(data.drawn[row], dtype=bool), _largest_slice(data, row)
        heat, hidden = (np.mean(part, axis=0) for part in zip(*maps[row], strict=True))
        shown.append(
            {
                "patient": data.patients[row],
                "set": str(data.cohort.sets[data.patients[row]]),
                "outcome": int(data.event[row]),
                "score": float(scores[row]),
                "why": why,
                "n_networks": len(seen[row]),
                "slice": k,
                "image": np.round(np.asarray(data.crops[row])[0, k], _CONTOUR_DIGITS),
                "mask": mask[k].astype(int),
                "grad_cam": np.round(heat, _CONTOUR_DIGITS),
                "occlusion": np.round(hidden, _CONTOUR_DIGITS),
                "spacing_mm": data.spacing[row][:2],
            }
        )
    return shown


def _largest_slice(data: DeepData, row: int) -> int:
    return int(np.argmax(np.asarray(data.drawn[row], dtype=bool).sum(axis=(1, 2))))


def _maps(
    context: Context, data: DeepData, pairs: list[tuple[int, TrainedNetwork]]
) -> dict[int, list[tuple[np.ndarray, np.ndarray]]]:
    """Grad-CAM and occlusion of the slice that is shown, by patient and network.

    Networks are looked at side by side, each on one thread: sums over several would differ in their last digits.
    """
    from hepacast.deep.explain import grad_cam, occlusion
    from hepacast.deep.inference import one_thread

    def look(pair: tuple[int, TrainedNetwork]) -> tuple[np.ndarray, np.ndarray]:
        row, network = pair
        crop, k = np.asarray(data.crops[row]), _largest_slice(data, row)
        covariates = None if data.targets.covariates is None else np.asarray(data.targets.covariates)[row]
        side = max(4, crop.shape[2] // 4)
        hidden = occlusion(network, crop, covariates, side=side, step=max(2, round(side / 3)), at=k)
        return grad_cam(network, crop, covariates)[k], hidden[k]

    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    with one_thread(), ThreadPoolExecutor(min(resolve_workers(context.workers), available_cores())) as pool:
        for (row, _), maps in zip(pairs, pool.map(look, pairs), strict=True):
            found.setdefault(row, []).append(maps)
    return found


def extreme_patients(rows: np.ndarray, event: np.ndarray, scores: np.ndarray, count: int) -> list[tuple[int, str]]:
    """Whom maps show, and why: in turn the highest score with the event, the lowest without (surest right), the lowest
    with the event and the highest without (surest wrong), then the next of each. Nobody twice; ties by row.

    Parameters
    ----------
    rows
        Row numbers of the set.
    event
        1 for patients with the event, (n,).
    scores
        (n,).
    """
    events = sorted((int(row) for row in rows if event[row] == 1), key=lambda row: (-scores[row], row))
    others = sorted((int(row) for row in rows if event[row] == 0), key=lambda row: (scores[row], row))
    found: dict[int, str] = {}
    for place in range(max(len(events), len(others))):
        turns = ((events, place, "surest right"), (others, place, "surest right"),
                 (events, -1 - place, "surest wrong"), (others, -1 - place, "surest wrong"))  # fmt: skip
        for order, at, why in turns:
            if place < len(order):
                found.setdefault(order[at], why)
    return list(found.items())[:count]


def adjusted_survival(
    context: Context, data: DeepData, risks: np.ndarray, cutoff: float, factors: pd.DataFrame | None
) -> list[dict[str, Any]]:
    """Cox model of the risk group and clinical factors, in every set with follow-up of both groups.

    Patients without a factor are left out of the model; a set in which it cannot be fitted has no rows.
    """
    if not data.cohort.survival or not np.isfinite(cutoff) or context.study.survival is None:
        return []
    follow_up = next(iter(data.cohort.survival.values()))
    label = f"{context.study.survival.groups[1]} against {context.study.survival.groups[0]}"
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(data.cohort.sets):
        members = [row for row in data.rows(str(name)) if data.patients[row] in follow_up.time.index]
        patients = [data.patients[row] for row in members]
        table = pd.DataFrame({label: (risks[members] >= cutoff).astype(float)}, index=patients)
        if factors is not None:
            table = table.join(factors.loc[patients])
        table = table.dropna()
        table = table.loc[:, table.nunique() > 1]
        if label not in table.columns or not follow_up.event[table.index].any():
            continue
        names = [label, *(_named(data, column) for column in table.columns[1:])]
        try:
            fit = fit_cox(table.to_numpy(), follow_up.time[table.index], follow_up.event[table.index], names)
        except (ModelError, np.linalg.LinAlgError):
            # Too few events for so many factors, or a group without any: there is no model to show.
            continue
        if fit.status != "ok":
            continue
        shown = fit.to_frame(context.study.evaluation.confidence)
        rows += [
            {
                "set": str(name),
                "label": str(index),
                "hazard_ratio": line["hr"],
                "low": line["hr_low"],
                "high": line["hr_high"],
                "p": line["p"],
                "n": fit.n,
                "events": fit.n_events,
            }
            for index, line in shown.iterrows()
        ]
    return rows


def _named(data: DeepData, column: str) -> str:
    """A factor as tables print it."""
    name, _, level = column.partition(": ")
    spec = next((item for item in data.cohort.table.specs if item.name == name), None)
    if spec is None:
        return column
    if level:
        return f"{spec.label}: {level} against {spec.level_names[0]}"
    if spec.kind == "binary":
        return f"{spec.label}: {spec.level_names[1]} against {spec.level_names[0]}"
    unit = spec.unit.removesuffix("s") if spec.unit in ("years", "months", "weeks", "days", "points") else spec.unit
    return f"{spec.label} (per {unit})" if unit else spec.label
