"""METRICS, the methodological radiomics score: each item from the run, and the score by its published weights.

The run answers an item with yes or no and says where the evidence stands; what only the author can judge stays open.
So the score is a range: open items counted as not met, and as met. Items whose condition does not hold (a study without
end-to-end networks, say) leave both sums.

References
----------
Kocak B et al. METhodological RadiomICs Score (METRICS). Insights Imaging 2024;15:8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hepacast.core.formatting import listing, plural
from hepacast.core.tables import Table, make_table
from hepacast.report.content.common import (
    evaluated,
    has_time,
    judged_set,
    main_model,
    validation_of,
)
from hepacast.report.results import Results

AUTHOR = "Author to fill"
_GRADES = ((80.0, "excellent"), (60.0, "good"), (40.0, "moderate"), (20.0, "low"), (0.0, "very low"))
_AUTOMATIC = ("nnunet", "builtin", "totalsegmentator", "network")
#: Training events that one coefficient of the final model needs, by the usual rule of thumb.
EVENTS_PER_COEFFICIENT = 10.0


@dataclass(frozen=True)
class Met:
    """Whether an item is met (None: the author must judge), and the sentence or number that says so."""

    met: bool | None
    text: str = ""


@dataclass(frozen=True)
class MetricsItem:
    """One item of the score."""

    number: int
    part: str
    item: str
    weight: float
    applies: bool | None
    answer: Met


@dataclass(frozen=True)
class MetricsScore:
    """The score in percent: `low` with open items not met, `high` with them met."""

    items: tuple[MetricsItem, ...]
    low: float
    high: float

    @property
    def open_items(self) -> int:
        """Items that wait for the author."""
        return sum(item.applies is not False and item.answer.met is None for item in self.items)

    def grade(self, value: float) -> str:
        """The published word for a score."""
        return next(word for limit, word in _GRADES if value >= limit)

    def text(self) -> str:
        """One sentence."""
        low, high = f"{self.low:.1f}%", f"{self.high:.1f}%"
        if self.low == self.high:
            return f"METRICS score {low} ({self.grade(self.low)})."
        return (
            f"METRICS score {low} ({self.grade(self.low)}) by what the run shows; up to {high} "
            f"({self.grade(self.high)}) if the author affirms the {plural(self.open_items, 'open item')}."
        )


def score_items(items: tuple[MetricsItem, ...]) -> MetricsScore:
    """Weights of the items met over weights of the items that apply, in percent.

    An item whose condition is unknown counts as applying when it is not met, and the upper end leaves it met.
    """
    counted = [item for item in items if item.applies is not False]
    total = sum(item.weight for item in counted)
    met = sum(item.weight for item in counted if item.answer.met)
    hoped = sum(item.weight for item in counted if item.answer.met is not False)
    return MetricsScore(items, 100 * met / total, 100 * hoped / total)


def metrics_score(content: Mapping[str, Any], results: Results) -> MetricsScore:
    """The score of a run; `content` is the list of items (``metrics`` in checklists.yaml)."""
    holds = {name: condition(results) for name, condition in CONDITIONS.items()}
    found = []
    for entry in content["items"]:
        applies = holds[entry["condition"]] if "condition" in entry else True
        answer = RULES[int(entry["number"])](results) if int(entry["number"]) in RULES else Met(None)
        found.append(
            MetricsItem(int(entry["number"]), entry["part"], entry["item"], float(entry["weight"]), applies, answer)
        )
    return score_items(tuple(found))


def metrics_table(content: Mapping[str, Any], score: MetricsScore) -> Table:
    """One row an item: weight, yes / no / author, and the evidence."""
    rows = []
    for item in score.items:
        if item.applies is False:
            met, text = "n/a", "the condition of this item does not hold for this study"
        else:
            met = {True: "yes", False: "no", None: AUTHOR}[item.answer.met]
            text = item.answer.text
        rows.append((str(item.number), item.part, item.item, f"{item.weight:.4f}", met, text))
    heads = ["Item", "Part", "What is asked", "Weight", "Met", "Evidence in this report"]
    return make_table(content["title"], heads, rows, notes=[score.text()], words=True)


def _segmented(results: Results) -> bool | None:
    # A table of features was measured in outlines that this run knows nothing of.
    return True if results.segmentation is not None else None


def _automatic(results: Results) -> bool | None:
    return None if results.segmentation is None else results.segmentation.source in _AUTOMATIC


CONDITIONS: dict[str, Callable[[Results], bool | None]] = {
    "segmentation": _segmented,
    "automatic": _automatic,
    "hand-crafted": lambda results: True if results.radiomics is not None else None,
    "tabular": lambda results: results.models is not None and results.models.radiomics is not None,
    "end-to-end": lambda results: "deep" in (results.models.names if results.models is not None else []),
}


def _step(results: Results, *words: str) -> str | None:
    model = results.models.radiomics if results.models is not None else None
    steps = model.steps if model is not None else []
    return next((s.label for s in steps if any(word in s.label.lower() for word in words)), None)


def _eligibility(results: Results) -> Met:
    if results.flow is None:
        return Met(None)
    return Met(
        None,
        f"{results.flow.included} of {results.flow.reviewed} patients analyzed, reasons in {{design}}; the author "
        "judges whether they stand for the population",
    )


def _reference(results: Results) -> Met:
    if results.outcome is None:
        return Met(None)
    source = f" ({results.outcome.source})" if results.outcome.source else ""
    return Met(None, f"{results.outcome.definition.rstrip('. ')}{source}; the author judges its quality")


def _centers(results: Results) -> Met:
    names = sorted({name for item in results.centers.values() for name in item})
    if not names:
        return Met(None, "the study file names no column of the center")
    return Met(len(names) > 1, f"{plural(len(names), 'center')} in the table")


def _outlines(results: Results) -> Met:
    item = results.segmentation
    if item is None:
        return Met(None, "features came as a table")
    return Met(True, item.description.rstrip(". ") or f"masks: {item.source}")


def _outline_judged(results: Results) -> Met:
    item = results.segmentation
    if item is None:
        return Met(None)
    judged = any(row.set != "readers" for row in item.metrics)
    return Met(judged, "{segmentation}: Dice and other measures" if judged else "no mask was compared with an expert's")


def _one_reader(results: Results) -> Met:
    item = results.segmentation
    if item is None or not item.masks:
        return Met(None)
    kinds = sorted(set(item.masks.values()))
    if all(kind in _AUTOMATIC for kind in kinds):
        return Met(True, "all masks come from the network")
    return Met(None, f"masks: {listing(kinds)}; the author says who outlined the test set")


def _preprocessing(results: Results) -> Met:
    item = results.radiomics
    if item is None or not item.settings:
        return Met(None, "features came as a table")
    return Met(True, f"resampling, discretization and filters in radiomics/summary.json ({item.settings_hash[:12]})")


def _software(results: Results) -> Met:
    item = results.radiomics
    if item is None or not item.settings:
        return Met(None, "features came as a table")
    return Met(True, f"{item.engine}, PyRadiomics' definitions, checked against IBSI's reference values")


def _parameters(results: Results) -> Met:
    item = results.radiomics
    return (
        Met(None, "features came as a table")
        if item is None or not item.settings
        else Met(True, "all in radiomics/summary.json")
    )


def _robust(results: Results) -> Met:
    step = _step(results, "reproducib", "icc")
    return Met(step is not None, f"{{steps}}: {step}" if step else "no filter of reproducibility in the chain")


def _redundant(results: Results) -> Met:
    step = _step(results, "redundan", "lasso", "elastic", "relevance", "weights")
    return Met(step is not None, f"{{steps}}: {step}" if step else "no such step in the chain")


def _final_size(results: Results) -> tuple[int, int] | None:
    """Events and coefficients of the final model."""
    if results.timed is not None:
        model = results.timed.models.get(main_model(results))
        return (model.events, len(model.terms)) if model is not None and model.terms else None
    models = results.models
    fits = [models.combined, models.radiomics] if models is not None else []
    final = next((fit.final for fit in fits if fit is not None and fit.final is not None and fit.final.terms), None)
    return (final.events, len(final.terms)) if final is not None else None


def _dimension(results: Results) -> Met:
    models = results.models
    size = _final_size(results)
    if size is None:
        return Met(None, "the main model has no predictor" if has_time(results) else "")
    events, terms = size
    rate = events / terms
    text = f"{events} events for {plural(terms, 'coefficient')} of the final model ({rate:.0f} each)"
    model = models.radiomics if models is not None else None
    if model is not None and model.radscore is not None and model.radscore.terms:
        text += f"; the signature has {plural(len(model.radscore.terms), 'feature')}"
    return Met(rate >= EVENTS_PER_COEFFICIENT, text)


def _partition(results: Results) -> Met:
    checks = results.run.checks if results.run is not None else []
    apart = [item for item in checks if "training and validation" in item.name]
    if not apart:
        return Met(None)
    passed = all(item.passed for item in apart)
    seed = results.run.seed if results.run is not None else results.study.seed
    return Met(
        passed,
        f"patients divided first, each in one set (checked), seed {seed}; every step is fitted to training patients"
        if passed
        else "a patient is in training and validation",
    )


def _confounders(results: Results) -> Met:
    shown = results.comparisons is not None and results.comparisons.by_set is not None
    harmonized = _step(results, "combat", "harmoni") is not None
    if harmonized:
        return Met(True, "differences of centers removed in the fold by ComBat: {steps}")
    return Met(None, "{sets} compares the sets; the author judges confounding" if shown else "")


def _measures(results: Results) -> Met:
    _, item = judged_set(results)
    if has_time(results):
        groups = "; groups at the training cut-off in {survival}" if evaluated(results).groups else ""
        return Met(True, "Harrell's C and AUC at the horizons: {discrimination}; Brier scores: {calibration}" + groups)
    matrix = any(found.main.thresholds for found in item.models.values())
    return Met(matrix, "{discrimination}; counts at the cut-off in {classification}" if matrix else "{discrimination}")


def _calibration(results: Results) -> Met:
    _, item = judged_set(results)
    found = any(at.calibration is not None for model in item.models.values() for at in model.horizons)
    if has_time(results):
        return Met(found, "observed over expected, slope, curve at each horizon: {calibration}" if found else "none")
    return Met(found, "slope, intercept, curve: {performance}" if found else "no model has calibrated risks")


def _one_image(results: Results) -> Met:
    images = results.study.settings.get("images") or {}
    sequences = list(images.get("sequences") or {})
    if not sequences:
        return Met(None)
    return Met(True, f"one image a patient ({sequences[0]})") if len(sequences) == 1 else Met(
        None, f"{len(sequences)} images a patient; each alone was not judged"
    )  # fmt: skip


def _against_clinical(results: Results) -> Met:
    _, item = judged_set(results)
    joined = (results.study.settings.get("fusion") or {}).get("models") or {}
    plain = {"clinical", *(name for name, parts in joined.items() if list(parts) == ["clinical"])}
    met = any(plain & {pair.first, pair.second} for pair in item.comparisons)
    if not met:
        return Met(False, "no clinical model stands beside the radiomics model")
    benefit = ", net benefit in {decision}" if any(len(state.thresholds) for state in item.states) else ""
    return Met(True, "{comparisons}" + (benefit if has_time(results) else ", net benefit in {performance}"))


def _against_simple(results: Results) -> Met:
    item = _against_clinical(results)
    kind = "Cox model" if has_time(results) else "logistic regression"
    return Met(True, f"{kind} of clinical variables: {{comparisons}}") if item.met else item


def _internal(results: Results) -> Met:
    split = ((results.study.settings.get("cohort") or {}).get("split") or {}).get("by")
    sets = evaluated(results).sets
    frozen = sets.get("validation")
    if frozen is not None and frozen.kind == "frozen" and (split == "random" or "external" in sets):
        how = "the same source, drawn at random" if split == "random" else "the validation set beside an external"
        return Met(True, f"frozen model in {frozen.n} patients of {how}")
    found = validation_of(results, main_model(results))
    nested = " (nested cross-validation of the whole chain is in {validation})" if found and found.nested else ""
    return Met(False, f"no held-out patients of the same source{nested}")


def _external(results: Results) -> Met:
    training = results.centers.get("training", {})
    others = {c for name, item in results.centers.items() if name != "training" for c in item}
    if not training or not others:
        named = evaluated(results).sets.get("external") if has_time(results) and not training else None
        if named is not None:
            return Met(True, f"frozen model in {named.n} patients of the set that the study file calls external")
        return Met(False, "no patients of another center were held out")
    new = sorted(others - set(training))
    n = sum(k for name, item in results.centers.items() if name != "training" for c, k in item.items() if c in new)
    return Met(bool(new), f"{n} patients of {plural(len(new), 'other center')}" if new else "same centers as training")


def _intervals(results: Results) -> Met:
    item = validation_of(results, main_model(results))
    folds = "; {validation}: corrected for overlapping folds" if item is not None and item.nested is not None else ""
    limits = "limits from influence functions" if has_time(results) else "DeLong's limits"
    return Met(True, f"{{discrimination}}: {limits}{folds}")


#: By number of the item; the others are the author's alone.
RULES: dict[int, Callable[[Results], Met]] = {
    1: lambda results: Met(True, "{checklist-tripod_ai}, {checklist-clear}"),
    2: _eligibility,
    3: _reference,
    4: _centers,
    8: _outlines,
    9: _outline_judged,
    10: _one_reader,
    11: _preprocessing,
    12: _software,
    13: _parameters,
    14: _robust,
    15: _redundant,
    16: _dimension,
    17: lambda results: Met(None),
    18: _partition,
    19: _confounders,
    20: _measures,
    21: _intervals,
    22: _calibration,
    23: _one_image,
    24: _against_clinical,
    25: _against_simple,
    26: _internal,
    27: _external,
    28: lambda results: Met(None, "feature values are in radiomics/; the author decides whether to share"),
    29: lambda results: Met(None, "study.resolved.yaml and the seed repeat the run; the author shares them"),
    30: lambda results: Met(None, "model.hepacast; the author decides whether to share"),
}
