"""Figure 1a: the steps of the study, with the numbers of this run."""

from __future__ import annotations

from hepacast.core.formatting import listing, number, plural
from hepacast.figures.flow import DesignStage, draw_study_design
from hepacast.report.content.common import (
    discrimination_of,
    has_time,
    judged_set,
    main_model,
    measure,
    model_label,
    model_names,
    selected_predictors,
    set_label,
    set_word,
    validation_of,
)
from hepacast.report.model import Panel
from hepacast.report.results import Results


def design_panel(results: Results) -> Panel:
    """The steps of the study, drawn and in words."""
    stages = design_stages(results)
    alt = "Steps of the study: " + "; ".join(f"{stage.title}: {', '.join(stage.lines)}" for stage in stages)
    return Panel(lambda: draw_study_design(stages), alt)


def design_stages(results: Results) -> list[DesignStage]:
    """The chain of this study."""
    stages = [_patients_stage(results)]
    if results.segmentation is not None:
        stages.append(_segmentation_stage(results))
    radiomics = results.models.radiomics if results.models is not None else None
    if (results.radiomics is not None and not has_time(results)) or radiomics is not None:
        stages.append(_radiomics_stage(results))
    if results.fusion is not None and results.fusion.networks:
        names = [item.name for item in results.fusion.networks]
        trainings = sum(item.trainings for item in results.fusion.networks)
        chosen = [item.name for item in results.fusion.competitors if item.kind == "network" and item.chosen]
        stages.append(DesignStage("Networks", [*names, f"{trainings} trainings"], chosen[0] if chosen else ""))
    if results.models is not None:
        lines = _models_with_kind(results) if has_time(results) else _models(results)
        stages.append(DesignStage("Models", lines, "Nomogram" if results.models.nomogram else ""))
    if results.evaluation is not None:
        stages.append(_validation_stage(results))
    return stages


def _patients_stage(results: Results) -> DesignStage:
    flow, outcome = results.flow, results.outcome
    assert flow is not None
    assert outcome is not None
    lines = [f"{flow.included} patients"]
    lines += [f"{set_label(results, name).removesuffix(', apparent')}: {item.n}" for name, item in flow.sets.items()]
    lines.append(f"Outcome: {outcome.name}")
    return DesignStage("Patients", lines, plural(outcome.n_events, "event"))


def _segmentation_stage(results: Results) -> DesignStage:
    item = results.segmentation
    assert item is not None
    names = {"given": "Expert masks", "builtin": "Built-in network", "totalsegmentator": "TotalSegmentator"}
    lines = [item.network.name if item.network is not None else names.get(item.source, item.source)]
    structures = list(dict.fromkeys(row.structure for row in item.metrics if row.set != "readers"))
    tested = [row for row in item.metrics if row.set == "test"]
    if item.network is not None:
        lines.append(f"Classes: {', '.join(item.network.classes)}")
    sets = {row.set for row in item.metrics if row.set.startswith("fold")}
    if sets:
        lines.append(f"{len(sets)} folds" + (" and a held-out test set" if tested else ""))
    return DesignStage("Segmentation", lines, f"Masks of {listing(structures)}" if structures else "Masks")


def _radiomics_stage(results: Results) -> DesignStage:
    lines = []
    if results.radiomics is not None:
        vois = results.radiomics.vois
        lines.append(f"{results.radiomics.n_features:,} features of {listing(vois)}")
    model = results.models.radiomics if results.models is not None else None
    score = ""
    if model is not None:
        lines += [
            f"{step.label}: {step.n_in:,}\u00a0→\u00a0{step.n_out:,}" for step in model.steps if step.n_in != step.n_out
        ]
        found = model.radscore
        score = f"Radscore of {plural(len(found.terms), 'feature')}" if found is not None else "No signature"
        if results.fusion is not None:
            trained = [item for item in results.fusion.competitors if item.kind == "classifier" and item.chosen]
            made = trained[0].name if len({item.name for item in trained}) == 1 else "mean of classifiers"
            score = f"{model.steps[-1].n_out} features, {made}" if trained and model.steps else ""
    return DesignStage("Radiomics", lines, score)


def _selected_labels(results: Results) -> str:
    labels = {column.name: column.label for column in results.columns}
    return ", ".join(labels.get(name, name) for name in selected_predictors(results, "clinical"))


def _models(results: Results) -> list[str]:
    models, lines = results.models, []
    assert models is not None
    if models.clinical is not None:
        lines.append(f"Clinical: {_selected_labels(results) or 'no independent predictor'}")
    if results.fusion is not None:
        chosen: dict[str, list[str]] = {}
        for item in results.fusion.competitors:
            if item.chosen:
                chosen.setdefault(item.score, []).append(item.name)
        lines += [f"{score}: {names[0] if len(names) == 1 else 'mean'}" for score, names in chosen.items()]
        lines.append("Joined by logistic regression: " + ", ".join(model_names(results)))
    elif models.radiomics is not None:
        lines.append("Radiomics: Radscore")
    if models.combined is not None and results.fusion is None:
        lines.append("Combined: both, by logistic regression")
    # Models of another study are known by their names.
    return lines or [model_label(results, name) for name in model_names(results)]


def _models_with_kind(results: Results) -> list[str]:
    own = f": {_selected_labels(results) or 'no predictor'}"
    return [model_label(results, name) + (own if name == "clinical" else "") for name in model_names(results)]


def _validation_stage(results: Results) -> DesignStage:
    name, item = judged_set(results)
    main, lines = main_model(results), []
    assert results.evaluation is not None
    if has_time(results):
        frozen = [key for key in ("validation", "external") if key in results.evaluation.sets]
        lines += [f"Frozen models: {set_word(results, key)}" for key in frozen]
    elif item.kind == "frozen":
        lines.append(f"Frozen models on the {set_word(results, name)}")
    done = validation_of(results, main)
    if done is not None and done.nested is not None:
        lines.append("Nested cross-validation of the whole chain")
    if done is not None and done.bootstrap is not None:
        lines.append("Bootstrap optimism")
    compared = "DeLong's test, calibration, decision curves"
    lines.append("C, AUC(t), calibration, decision curves, risk groups" if has_time(results) else compared)
    best = discrimination_of(results, name, main)
    shown = f"{measure(results)} {number(best.value, 3)}" if best is not None and best.known else ""
    return DesignStage("Validation", lines, shown)
