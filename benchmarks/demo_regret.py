"""What finished demos find of what there is to find: AUC (C) of the planted truth, of every model, and the regret.

``python benchmarks/demo_regret.py OUT...``: results of demos (``hepacast demo --study NAME --out OUT``), a folder a
demo and seed, as Markdown. Nested: mean over the folds of the cross-validation; other sets: the frozen model. Regret:
AUC of the true risk on those patients minus the model's. In the last row of a demo the model of its headline; below the
table, of each set, the model that it is below by most, and the P of that difference as the report has it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hepacast.report.results import Results, load_results


def rows_of(folder: Path) -> list[tuple[str, float, dict[str, float]]]:
    """Model, nested AUC and AUC in each other set; the first row is the truth."""
    found = load_results(folder / "results")
    assert found.truth is not None and found.validation is not None and found.evaluation is not None
    sets = [name for name in found.evaluation.sets if name not in ("training", "nested")]
    truth = found.truth.bayes_auc
    rows = [("truth", truth["training"], {name: truth[name] for name in sets})]
    names = [name for name in found.models.names if name in found.validation.models] if found.models else []
    main = found.models.main if found.models else ""
    for name in [*(item for item in names if item != main), *([main] if main in names else [])]:
        nested = found.validation.models[name].nested
        if nested is not None:
            rows.append((name, nested.estimate.value, {item: _auc(found, item, name) for item in sets}))
    return rows


def _auc(found: Results, name: str, model: str) -> float:
    assert found.evaluation is not None
    result = found.evaluation.sets[name].models.get(model)
    return float("nan") if result is None else result.discrimination.value


def main(folders: list[Path]) -> str:
    """The table of all folders."""
    lines = ["| demo | model | nested | regret | other sets | mean regret there |", "|---|---|---|---|---|---|"]
    for folder in folders:
        (_, best, truth), *models = rows_of(folder)
        lines.append(f"| {folder.name} | truth | {best:.3f} | | {_sets(truth)} | |")
        for name, nested, others in models:
            away = [truth[item] - value for item, value in others.items() if value == value]
            there = f"{sum(away) / len(away):.3f}" if away else ""
            lines.append(f"| | {name} | {nested:.3f} | {best - nested:.3f} | {_sets(others)} | {there} |")
    return "\n".join([*lines, "", *(f"* {folder.name}: {lost}" for folder in folders for lost in shortfalls(folder))])


def shortfalls(folder: Path) -> list[str]:
    """Of each set of patients not fitted to, where the model of the headline is below another by most."""
    found = load_results(folder / "results")
    assert found.models is not None and found.evaluation is not None
    main, lines = found.models.main or found.models.names[-1], []
    for name, item in found.evaluation.sets.items():
        ways = [
            ((1 if c.first == main else -1) * c.difference.value, c.p, c.second if c.first == main else c.first)
            for c in item.comparisons
            if main in (c.first, c.second) and c.measure in ("AUC", "C")
        ]
        below = min((way for way in ways if way[0] < 0), default=None)
        if item.kind != "apparent" and ways:
            told = "below none" if below is None else f"below {below[2]} by {-below[0]:.3f} (P = {below[1]:.2f})"
            lines.append(f"{name}, {main} {told}")
    return lines


def _sets(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


if __name__ == "__main__":
    print(main([Path(text) for text in sys.argv[1:]]))
