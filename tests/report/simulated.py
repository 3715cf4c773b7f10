"""A complete results folder from a small study that is really fitted: simulated patients, scikit-learn, statsmodels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from report_simulated_evaluation import VALIDATION, auc_estimate, evaluation
from scipy import stats
from sklearn.linear_model import LogisticRegression, lasso_path
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from hepacast.cohort.columns import ColumnSpec
from hepacast.cohort.flow import Excluded, FlowCounts, SetCount
from hepacast.core.files import write_json
from hepacast.core.records import write_record

N_TRAIN, N_VALID, P = 147, 63, 60
FEATURE_CLASSES = (
    "firstorder_Kurtosis",
    "glcm_Idn",
    "glrlm_LongRunEmphasis",
    "glszm_ZoneEntropy",
    "gldm_DependenceVariance",
)
IMAGES = ("original", "wavelet-LLH", "wavelet-HHL", "log-sigma-2-0-mm-3D", "squareroot", "lbp-3D-m1")
FEATURES = [f"{voi}:{image}_{name}" for voi in ("parenchyma", "tumor") for image in IMAGES for name in FEATURE_CLASSES]


class Study:
    """Simulated patients and everything that is fitted to them."""

    def __init__(self, seed: int = 7, signal: float = 1.0) -> None:
        g = np.random.default_rng(seed)
        n = N_TRAIN + N_VALID
        self.patients = [f"P{i:03d}" for i in range(1, n + 1)]
        self.sets = np.array(["training"] * N_TRAIN + [VALIDATION] * N_VALID)
        self.clinical = pd.DataFrame(
            {
                "inr": g.lognormal(0.05, 0.12, n).round(2),
                "alb": g.normal(38, 5.5, n).round(1),
                "tb": g.lognormal(2.9, 0.45, n).round(1),
                "age": g.normal(60, 11, n).round(),
                "sex": g.choice(["female", "male"], n, p=[0.15, 0.85]),
                "ctp": g.choice(["A", "B", "C"], n, p=[0.78, 0.19, 0.03]),
            },
            index=self.patients,
        )
        self.features = pd.DataFrame(g.normal(size=(n, P)), index=self.patients, columns=FEATURES)
        lp = -1.3 + signal * (
            7 * (self.clinical["inr"] - 1.06)
            - 0.12 * (self.clinical["alb"] - 38)
            + 0.9 * self.features.iloc[:, 0]
            - 0.7 * self.features.iloc[:, 7]
        )
        self.true_risk = 1 / (1 + np.exp(-lp.to_numpy()))
        self.y = (g.random(n) < self.true_risk).astype(int)
        self.train = self.sets == "training"
        self._fit()

    def _fit(self) -> None:
        import statsmodels.api as sm

        x, y = self.features[self.train].to_numpy(), self.y[self.train]
        self.mean, self.sd = x.mean(0), x.std(0)
        z = (x - self.mean) / self.sd
        self.alphas, self.path, _ = lasso_path(z, y - y.mean(), alphas=40, eps=0.05)
        chosen = 14
        weights = self.path[:, chosen]
        self.chosen = float(self.alphas[chosen])
        self.order = np.argsort(-np.abs(weights), kind="stable")[: min(6, int((weights != 0).sum()))]
        self.weights = weights[self.order] * 6
        every = (self.features.to_numpy() - self.mean) / self.sd
        self.radscore = every[:, self.order] @ self.weights - 1.0
        design = {
            "clinical": self.clinical[["inr", "alb"]].to_numpy(float),
            "radiomics": self.radscore[:, None],
            "combined": np.column_stack([self.clinical[["inr", "alb"]].to_numpy(float), self.radscore]),
        }
        self.fits = {m: sm.Logit(y, sm.add_constant(d[self.train])).fit(disp=0) for m, d in design.items()}
        self.risk = {m: np.asarray(self.fits[m].predict(sm.add_constant(d))) for m, d in design.items()}
        self.nested = {m: self._cross_validated(d) for m, d in design.items()}

    def _cross_validated(self, design: np.ndarray) -> list[float]:
        x, y = design[self.train], self.y[self.train]
        x = (x - x.mean(0)) / x.std(0)
        aucs = []
        for repeat in range(3):
            risk = np.zeros(len(y))
            for fit, test in StratifiedKFold(5, shuffle=True, random_state=repeat).split(x, y):
                risk[test] = LogisticRegression(C=1e6).fit(x[fit], y[fit]).predict_proba(x[test])[:, 1]
            aucs.append(float(roc_auc_score(y, risk)))
        return aucs


def logistic(study: Study, model: str, names: list[str]) -> dict[str, Any]:
    fit = study.fits[model]
    labels = {"inr": ("INR", None, 0.1), "alb": ("ALB", "g/L", None), "radscore": ("Radscore", None, None)}
    terms = []
    for i, name in enumerate(names, start=1):
        beta, se = float(fit.params[i]), float(fit.bse[i])
        label, unit, step = labels[name]
        sd = float({"radscore": study.radscore}.get(name, study.clinical.get(name))[:N_TRAIN].std())
        scales = [("per 0.1", step)] if step else []
        scales.append((f"per SD ({sd:.3g}{f' {unit}' if unit else ''})", sd))

        def ratio(size: float, beta: float = beta, se: float = se) -> dict[str, float]:
            low, high = np.exp(size * (beta - 1.96 * se)), np.exp(size * (beta + 1.96 * se))
            return {"ratio": float(np.exp(size * beta)), "low": float(low), "high": float(high)}

        terms.append(
            {"name": name, "label": label, "unit": unit, "coefficient": beta, "se": se, **ratio(1.0),
             "p": float(fit.pvalues[i]), "scales": [{"label": text, **ratio(size)} for text, size in scales]}
        )  # fmt: skip
    return {
        "intercept": float(fit.params[0]), "terms": terms, "n": N_TRAIN, "events": int(study.y[study.train].sum()),
        "method": "maximum likelihood", "status": "ok", "reason": None,
    }  # fmt: skip


def nomogram(study: Study) -> tuple[dict[str, Any], dict[str, Any]]:
    from hepacast.nomogram import NomogramModel, NomogramPredictor, build_nomogram

    fit, train = study.fits["combined"], study.train
    values = {
        "inr": study.clinical["inr"].to_numpy(),
        "alb": study.clinical["alb"].to_numpy(),
        "radscore": study.radscore,
    }
    labels = {"inr": ("INR", ""), "alb": ("ALB", "g/L"), "radscore": ("Radscore", "")}
    predictors = tuple(
        NomogramPredictor(n, labels[n][0], unit=labels[n][1], low=float(v[train].min()), high=float(v[train].max()))
        for n, v in values.items()
    )
    model = NomogramModel(
        predictors, {n: (float(fit.params[i]),) for i, n in enumerate(values, 1)}, float(fit.params[0])
    )
    lps = np.log(study.risk["combined"] / (1 - study.risk["combined"]))[train]
    built = build_nomogram(model, lp_range=(float(lps.min()), float(lps.max())), risk_label="Risk of PTLF")
    who = int(np.flatnonzero(~train)[np.argmax(study.risk["combined"][~train])])
    reading = built.read({n: float(v[who]) for n, v in values.items()})
    shares = [
        {
            "label": labels[n][0],
            "value": f"{v[who]:.3g}",
            "contribution": float(fit.params[i] * (v[who] - v[train].mean())),
        }
        for i, (n, v) in enumerate(values.items(), 1)
    ]
    risk = float(study.risk["combined"][who])
    example = {"patient": study.patients[who], "risk": risk, "low": risk / 1.6, "high": min(0.99, risk * 1.2),
               "outcome": int(study.y[who]), "shares": shares}  # fmt: skip
    return built.to_spec(reading), example


def models(study: Study) -> dict[str, Any]:
    spec, example = nomogram(study)
    used = np.flatnonzero((study.path != 0).any(axis=1))
    loss = 1.0 + (np.log(study.alphas) - np.log(study.chosen)) ** 2 / 20
    single = [t for name in ("clinical",) for t in logistic(study, name, ["inr", "alb"])["terms"]]
    return {
        "names": ["clinical", "radiomics", "combined"],
        "clinical": {"alpha": 0.05, "selected": ["inr", "alb"], "univariate": single,
                     "multivariate": logistic(study, "clinical", ["inr", "alb"]),
                     "final": logistic(study, "clinical", ["inr", "alb"])},
        "radiomics": {
            "steps": [
                {"name": "measured", "label": "Measured", "n_in": P, "n_out": P},
                {"name": "spearman", "label": "Spearman |ρ| > 0.8", "n_in": P, "n_out": 48},
                {"name": "univariate", "label": "Univariate P < .05", "n_in": 48, "n_out": 17},
                {"name": "lasso", "label": "LASSO", "n_in": 17, "n_out": len(study.order)},
            ],
            "lasso": {"lambdas": study.alphas, "coefficients": {FEATURES[j]: study.path[j] for j in used},
                      "n_nonzero": (study.path != 0).sum(0), "chosen": study.chosen, "lambda_min": study.chosen,
                      "lambda_1se": float(study.alphas[10]), "cv_mean": loss, "cv_se": np.full(len(loss), 0.05),
                      "measure": "binomial deviance", "folds": 10},
            "radscore": {"intercept": -1.0, "terms": [
                {"feature": FEATURES[j], "weight": w, "mean": study.mean[j], "sd": study.sd[j]}
                for j, w in zip(study.order, study.weights, strict=True)]},
            "final": logistic(study, "radiomics", ["radscore"]), "status": "ok", "reason": None},
        "combined": {"final": logistic(study, "combined", ["inr", "alb", "radscore"]), "status": "ok", "reason": None},
        "nomogram": spec,
        "example": example,
    }  # fmt: skip


def validation(study: Study) -> dict[str, Any]:
    found = {}
    for model, risk in study.risk.items():
        y = study.y
        nested = study.nested[model]
        mean = float(np.mean(nested))
        apparent = auc_estimate(y[study.train], risk[study.train])
        found[model] = {
            "apparent": apparent,
            "usual": {"value": apparent["value"] - 0.01, "low": apparent["low"] - 0.01,
             "high": apparent["high"] - 0.01},
            "nested": {"estimate": {"value": mean, "low": mean - 0.09, "high": mean + 0.08}, "folds": 5, "repeats": 3,
                       "per_repeat": nested, "n_failed": 0},
            "bootstrap": {"apparent": apparent["value"], "optimism": apparent["value"] - mean - 0.01,
                          "corrected": {"value": mean + 0.01, "low": mean - 0.08, "high": mean + 0.09},
                          "resamples": 50, "n_failed": 1},
            "frozen": auc_estimate(y[~study.train], risk[~study.train]),
        }  # fmt: skip
    shares = [{"name": FEATURES[j], "frequency": 0.95 - 0.14 * i} for i, j in enumerate(study.order)]
    null = np.random.default_rng(0).normal(0.5, 0.05, 100)
    best = found["combined"]["nested"]["estimate"]["value"]
    return {
        "models": found,
        "stability": {"radiomics": shares, "clinical": [{"name": "inr", "label": "INR", "frequency": 1.0},
                                                        {"name": "alb", "label": "ALB", "frequency": 0.87}]},
        "nogueira": {"radiomics": {"index": 0.62, "low": 0.55, "high": 0.69}},
        "refits": 15,
        "permutation": {"model": "combined", "null": null, "observed": best,
                        "p": float((1 + (null >= best).sum()) / 101)},
    }  # fmt: skip


def comparison(study: Study, labels: np.ndarray, order: list[str]) -> dict[str, Any]:
    names = {"inr": ("INR", None), "alb": ("ALB", "g/L"), "tb": ("TB", "umol/L"), "age": ("Age", "years"),
             "sex": ("Sex", None), "ctp": ("Child-Pugh class", None)}  # fmt: skip
    variables = {}
    for name, (label, unit) in names.items():
        column = study.clinical[name]
        parts = [column[labels == group] for group in order]
        if not pd.api.types.is_numeric_dtype(column):
            levels = sorted(column.unique())
            counts = np.array([[int((part == level).sum()) for level in levels] for part in parts])
            groups = [
                {"n": len(p), "missing": 0, "counts": dict(zip(levels, row, strict=True))}
                for p, row in zip(parts, counts, strict=True)
            ]
            test, p, normal = "chi-square", float(stats.chi2_contingency(counts + 0.001)[1]), None
        else:
            groups = [
                {"n": len(p), "missing": 0, "mean": p.mean(), "sd": p.std(), "median": p.median(),
                 "q1": p.quantile(0.25), "q3": p.quantile(0.75), "min": p.min(), "max": p.max()} for p in parts
            ]  # fmt: skip
            normal = name in ("alb", "age")
            test = "Welch t" if normal else "Mann-Whitney"
            p = float((stats.ttest_ind if normal else stats.mannwhitneyu)(*parts).pvalue)
        kind = "numeric" if normal is not None else "binary" if len(levels) == 2 else "categorical"
        variables[name] = {
            "label": label, "unit": unit or "", "kind": kind, "missing": 0, "normal": normal, "test": test, "p": p,
            "groups": dict(zip(order, groups, strict=True)), "smd": 0.12, "status": "ok",
        }  # fmt: skip
    sizes = {group: int((labels == group).sum()) for group in order}
    rule = "Normal by Shapiro-Wilk: mean and t test; else median and Mann-Whitney; counts: chi-squared."
    return {"by": "group", "groups": order, "sizes": sizes, "variables": variables, "rule": rule}


def write_cohort(study: Study, folder: Path) -> None:
    groups = np.where(study.y == 1, "PTLF", "no PTLF")
    train = study.train
    small = Study.__new__(Study)
    small.clinical = study.clinical[train]
    write_json(
        folder / "comparisons.json",
        {"by_outcome": comparison(small, groups[train], ["PTLF", "no PTLF"]),
         "by_set": comparison(study, study.sets, ["training", VALIDATION]),
         "segmentation": comparison(study, np.where(np.arange(len(groups)) < 80, "training", "test"), ["training",
          "test"])},
    )  # fmt: skip
    sets = {
        s: {"n": int((study.sets == s).sum()), "events": int(study.y[study.sets == s].sum())}
        for s in ("training", VALIDATION)
    }
    excluded = [
        Excluded("extrahepatic metastases", tuple(f"X{i}" for i in range(14))),
        Excluded("no portal image", tuple(f"Y{i}" for i in range(3))),
    ]
    counts = {name: SetCount(**count) for name, count in sets.items()}
    write_record(folder / "flow.json", FlowCounts(227, tuple(excluded), 210, counts))
    definition = "any of bilirubin ≥ 85 umol/L, INR > 1.5 or ascites within 4 weeks"
    write_json(
        folder / "outcome.json",
        {"name": "PTLF", "kind": "binary", "positive": "PTLF", "negative": "no PTLF", "definition": definition,
         "source": definition, "n": 210, "n_events": int(study.y.sum()), "conditions": {"bilirubin": 21, "INR": 30}},
    )  # fmt: skip
    columns = [ColumnSpec(n, label=text, role="candidate") for n, text in (("inr", "INR"), ("alb", "ALB"))]
    write_json(folder / "columns.json", [column.to_json() for column in columns])
    write_json(
        folder / "findings.json",
        [{"severity": "warning", "code": "events-per-variable", "message": "36 events for 14 candidates",
          "patient": None,
         "row": None, "column": None},
         {"severity": "note", "code": "below-detection", "message": "<0.8 became 0.4", "patient": "P004", "row": 5,
          "column": "AFP"}],
    )  # fmt: skip
    truth = {
        "training": float(roc_auc_score(study.y[train], study.true_risk[train])),
        VALIDATION: float(roc_auc_score(study.y[~train], study.true_risk[~train])),
    }
    terms = [{"label": "INR per 0.1", "coefficient": 0.7}, {"label": "ALB per g/L", "coefficient": -0.12}]
    write_json(folder / "truth.json", {"planted": True, "bayes_auc": truth, "terms": terms, "description": ""})
    sentences = [
        {"stage": "cohort", "text": "Of 227 patients reviewed, 210 were included.", "citations": []},
        {"stage": "cohort", "text": "PTLF was defined by the APASL criteria [@apasl2019].", "citations": []},
    ]
    write_json(folder / "methods.json", sentences)


def write_segmentation(study: Study, folder: Path) -> None:
    from PIL import Image

    g = np.random.default_rng(5)
    rows = []
    for i, patient in enumerate(study.patients[:100]):
        for structure, base in (("parenchyma", 0.93), ("tumor", 0.82)):
            dice = float(np.clip(g.normal(base, 0.03), 0, 0.99))
            rows.append({"patient": patient, "set": f"fold {i % 5}" if i < 80 else "test", "structure": structure,
             "dice": dice,
                         "jaccard": dice / (2 - dice), "precision": dice - 0.01, "recall": dice + 0.005, "hd95_mm": 6.1,
                         "assd_mm": 1.2, "volume_difference_pct": 2.0, "status": "ok", "reason": None})  # fmt: skip
    for name in ("a.png", "b.png"):
        y, x = np.mgrid[:120, :160]
        gray = (90 + 60 * ((x - 80) ** 2 / 5000 + (y - 60) ** 2 / 2500 < 1) + g.normal(0, 8, (120, 160))).clip(0, 255)
        Image.fromarray(gray.astype(np.uint8)).save(folder / name)
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]]
    write_json(
        folder / "segmentation.json",
        {"source": "nnunet", "preset": "demo",
         "description": "Masks were made by nnU-Net v2 (3d_fullres), trained on 80 patients.",
         "network": {"name": "nnU-Net v2, 3d_fullres", "features_per_stage": [32, 64, 128, 256], "strides": strides,
                     "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]], "patch_size": [28, 160, 160],
                     "spacing_mm": [5.0, 0.78, 0.78], "blocks_per_stage": [2, 2, 2, 2], "classes": ["parenchyma",
                      "tumor"]},
         "metrics": rows, "overlays": [{"patient": "P001", "file": "a.png", "caption": "P001, expert and network"},
                                       {"patient": "P002", "file": "b.png", "caption": "P002, expert and network"}],
         "masks": dict.fromkeys(study.patients, "nnU-Net, all folds"),
         "status": [{"patient": "P033", "status": "warning", "reason": "tumor: touches the border"}]},
    )  # fmt: skip
    write_json(
        folder / "methods.json",
        [{"stage": "segmentation", "text": "nnU-Net v2 was trained unmodified.", "citations": ["nnunet"]}],
    )


def write_results(folder: Path, study: Study, *, survival: bool = True) -> Path:
    """Write a complete results folder."""
    for name in ("cohort", "segmentation", "radiomics", "modelling", "evaluation"):
        (folder / name).mkdir(parents=True)
    write_cohort(study, folder / "cohort")
    write_segmentation(study, folder / "segmentation")
    write_json(
        folder / "radiomics" / "summary.json",
        {"engine": "hepacast 0.1.0", "n_features": P, "vois": ["parenchyma", "tumor"], "features_per_voi": P // 2,
         "settings": {"binWidth": 25}, "settings_hash": "ab" * 32, "status_counts": {"ok": P * 210 - 3, "failed": 3}},
    )  # fmt: skip
    write_json(
        folder / "radiomics" / "methods.json",
        [{"stage": "radiomics", "text": "Features followed IBSI.", "citations": ["ibsi", "pyradiomics"]}],
    )
    write_json(folder / "modelling" / "models.json", models(study))
    write_json(folder / "modelling" / "validation.json", validation(study))
    write_json(
        folder / "modelling" / "methods.json",
        [{"stage": "modelling", "text": "A LASSO[@lasso] chose features.", "citations": []}],
    )
    write_json(folder / "evaluation" / "evaluation.json", evaluation(study, survival))
    write_json(
        folder / "evaluation" / "methods.json",
        [{"stage": "evaluation", "text": "AUCs were compared.", "citations": ["delong"]}],
    )
    write_json(
        folder / "run.json",
        {"version": "0.1.0", "seed": 2024, "python": "3.11.7", "platform": "Linux x86_64", "packages": {"numpy": "2.1"},
         "stages": [{"name": "cohort", "key": "12" * 32, "seconds": 1.0, "cached": False}],
          "started": "2026-01-01T00:00:00+00:00",
         "inputs": [{"path": "clinical.csv", "sha256": "cd" * 32}],
         "checks": [{"name": "no leakage", "passed": True, "message": "every step inside the folds"}]},
    )  # fmt: skip
    settings = {"name": "Liver failure after TACE", "recipe": "ptlf", "seed": 2024, "intended_use": "Research.",
                "cohort": {"split": {"by": "column"}}, "report": {"title": None}}  # fmt: skip
    (folder / "study.resolved.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder
