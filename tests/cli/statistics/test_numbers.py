"""`hepacast stats` gives the numbers of R."""

from __future__ import annotations

import numpy as np
import pytest


def _golden_csv(golden, name, tmp_path, change=lambda frame: frame):
    reference, frame = golden(name)
    path = tmp_path / f"{name}.csv"
    change(frame).to_csv(path, index=False)
    return reference, path


def test_logistic_is_that_of_r(golden, numbers, tmp_path):
    reference, path = _golden_csv(golden, "a1_logistic_pima", tmp_path, lambda f: f[f["split"] == "train"])
    names = ["npreg", "glu", "bp", "skin", "bmi", "ped", "age"]
    for interval in ("wald", "profile"):
        found = numbers(
            "stats", "logistic", path, "--outcome", "type", "--predictors", ",".join(names), "--interval", interval
        )
        for part in ("univariate", "multivariate"):
            for line in found[part]:
                truth = reference[part][line["term"]]
                got = [line["coef"], line["se"], line["p"], line["odds_ratio"], line["low"], line["high"]]
                wanted = [truth["coef"], truth["se"], truth["p"], truth["OR"], *truth[f"OR_ci_{interval}"]]
                np.testing.assert_allclose(got, wanted, rtol=1e-6)
    np.testing.assert_allclose([found["vif"][n] for n in names], [reference["fit"]["vif"][n] for n in names], rtol=1e-8)
    assert found["flow"] == {"read": 200, "left_out": {}, "used": 200}


def test_evaluate_is_that_of_proc(golden, numbers, tmp_path):
    reference, path = _golden_csv(golden, "b_roc_asah", tmp_path)
    found = numbers("stats", "evaluate", path, "--outcome", "outcome", "--models", "s100b,ndka,wfns", "--bootstrap", 20)
    for name, truth in reference["markers"].items():
        got = found["models"][name]
        np.testing.assert_allclose(got["auc"], truth["auc"], rtol=1e-12)
        np.testing.assert_allclose(got["auc_ci"], truth["ci_delong"], rtol=1e-9)
        np.testing.assert_allclose(got["youden"]["threshold"], truth["youden"]["threshold"], rtol=1e-12)
        assert [got["confusion"][k] for k in ("tp", "fp", "tn", "fn")] == [
            truth["youden"][k] for k in ("tp", "fp", "tn", "fn")
        ]
        assert got["brier"] is None and "probability" in got["reason"]
    truths = {frozenset((truth["a"], truth["b"])): truth for truth in reference["paired"]}
    assert len(found["pairs"]) == len(truths) == 3
    for got in found["pairs"]:
        truth = truths[frozenset((got["a"], got["b"]))]
        sign = 1 if got["a"] == truth["a"] else -1
        np.testing.assert_allclose([got["delong_z"], got["delong_p"]], [sign * truth["Z"], truth["p"]], rtol=1e-9)


def test_evaluate_has_the_promised_keys(numbers, table):
    rng = np.random.default_rng(0)
    risk = rng.uniform(0.05, 0.95, 150)
    y = (rng.uniform(size=150) < risk).astype(int)
    path = table({"y": y, "a": risk, "b": np.clip(risk + rng.normal(0, 0.2, 150), 0.01, 0.99)})
    found = numbers("stats", "evaluate", path, "--outcome", "y", "--models", "a,b", "--bootstrap", 30)
    keys = {"auc", "auc_ci", "brier", "slope", "intercept", "hosmer_lemeshow", "ici", "net_benefit", "youden"}
    for model in found["models"].values():
        assert keys <= set(model)
        assert all(model[key] is not None for key in keys)
    assert {"delong_z", "delong_p", "nri", "idi"} <= set(found["pairs"][0])
    np.testing.assert_allclose(found["models"]["a"]["brier"], np.mean((risk - y) ** 2), rtol=1e-9)


BIRTHWT = {
    "additive": ("age,lwt,race,smoke,ptl,ht,ui", (), 1e-9),
    "rcs": ("age,lwt,race,smoke,ht", ("--spline", "age:4", "--spline", "lwt:3"), 1e-7),
    "interaction_cat_cat": ("lwt,race,smoke,ht", ("--interaction", "race:smoke"), 1e-8),
    # lrm stops one step earlier here: its own coefficients are right to 6e-8.
    "interaction_num_cat": ("age,smoke,lwt,ht", ("--interaction", "age:smoke"), 1e-5),
}


@pytest.mark.parametrize("case", BIRTHWT)
def test_logistic_nomogram_is_that_of_rms(golden, numbers, tmp_path, case):
    reference, path = _golden_csv(golden, "a2_nomogram_birthwt", tmp_path)
    truth, (predictors, options, tolerance) = reference[case], BIRTHWT[case]
    found = numbers(
        "stats", "nomogram", path, "--outcome", "low", "--predictors", predictors, *options,
        "--levels", "race=white|black|other", "--patient", "7", "--bootstrap", 0,
    )  # fmt: skip
    wanted = dict(truth["coef"])
    np.testing.assert_allclose(found["intercept"], wanted.pop("Intercept"), rtol=1e-6)
    assert set(found["coefficients"]) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found["coefficients"][name]["coef"], value, rtol=1e-6, err_msg=name)
    for axis in found["nomogram"]["predictors"]:
        points = [tick["points"] for tick in axis["ticks"]]
        np.testing.assert_allclose(points, truth["axes"][axis["name"]]["points"], atol=tolerance * 100)
    patient = found["patient"]
    np.testing.assert_allclose(patient["total_points"], truth["patients"]["total_points"][6], atol=1e-4)
    np.testing.assert_allclose(patient["outputs"]["risk"], truth["patients"]["risk"][6], atol=1e-7)


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("log_bili", ("--log", "bili", "--ticks", "bili:0.3,0.5,1,2,4,8,16,28")),
        ("rcs", ("--spline", "age:3", "--spline", "bili:4")),
    ],
)
def test_cox_nomogram_is_that_of_rms(golden, numbers, tmp_path, case, options):
    reference, path = _golden_csv(golden, "f4_nomogram_cox_pbc", tmp_path)
    truth = reference[case]
    found = numbers(
        "stats", "nomogram", path, "--time", "years", "--event", "dead", "--predictors", "age,bili,albumin,edema",
        *options, "--levels", "edema=none|treated|present", "--at", "1,3,5", "--patient", "3", "--bootstrap", 0,
    )  # fmt: skip
    for name, value in truth["coef"].items():
        key = "log(bili)" if case == "log_bili" and name == "bili" else name
        np.testing.assert_allclose(found["coefficients"][key]["coef"], value, rtol=1e-9, err_msg=name)
    for axis in found["nomogram"]["predictors"]:
        points = [tick["points"] for tick in axis["ticks"]]
        np.testing.assert_allclose(points, truth["axes"][axis["name"]]["points"], atol=1e-8)
    row = truth["patients"]["id"].index(3)
    np.testing.assert_allclose(
        list(found["patient"]["outputs"].values()), [truth["patients"][f"S{t}"][row] for t in (1, 3, 5)], atol=1e-9
    )


def test_survival_is_that_of_r(golden, numbers, tmp_path):
    reference, path = _golden_csv(golden, "f1_km_cox_lung", tmp_path)
    found = numbers(
        "stats", "survival", path, "--time", "time", "--event", "status", "--group", "sex", "--at", "200,400",
        "--predictors", "age,sex,ph.ecog,wt.loss", "--levels", "sex=male|female",
    )  # fmt: skip
    for name in ("male", "female"):
        truth, got = reference["km_by_sex"][f"sex={name}"], found["groups"][name]["curve"]
        for key, wanted in (("time", "time"), ("n_risk", "n_risk"), ("survival", "surv"), ("lower", "lower")):
            np.testing.assert_allclose(
                np.array(got[key][:-1], dtype=float), np.array(truth[wanted][:-1], dtype=float), rtol=1e-9
            )
        median = reference["median"][f"sex={name}"]
        assert list(found["groups"][name]["median"].values()) == [
            median["median"], median["0.95LCL"], median["0.95UCL"],
        ]  # fmt: skip
    truth = reference["logrank_sex"]
    np.testing.assert_allclose([found["log_rank"]["chi2"], found["log_rank"]["p"]], [truth["chisq"], truth["p"]])
    np.testing.assert_allclose(found["log_rank"]["expected"], truth["exp"], rtol=1e-9)
    cox, table = found["cox"], reference["cox_efron"]["table"]
    assert (cox["n"], cox["n_events"]) == (213, 151)
    assert cox["flow"]["left_out"] == {"ph.ecog missing": 1, "wt.loss missing": 14}
    for name, key in (("age", "age"), ("sex=female", "sexfemale"), ("ph.ecog", "ph.ecog"), ("wt.loss", "wt.loss")):
        got, wanted = cox["multivariate"][name], table[key]
        np.testing.assert_allclose(
            [got[k] for k in ("coef", "se", "p", "hr", "hr_low", "hr_high")],
            [*(wanted[k] for k in ("coef", "se", "p", "HR")), *wanted["ci"]], rtol=1e-8,
        )  # fmt: skip
    zph = reference["cox_zph_km"]
    np.testing.assert_allclose(
        [cox["zph"]["age"]["p"], cox["zph"]["GLOBAL"]["p"]], [zph["p"]["age"], zph["p"]["GLOBAL"]]
    )
    np.testing.assert_allclose(
        [cox["c"], cox["c_se"]], [reference["cindex"]["harrell"], reference["cindex"]["harrell_se"]]
    )


def test_score_cut_and_auc_are_those_of_r(golden, numbers, tmp_path):
    cuts, _ = golden("f3_cutpoint")
    reference, path = _golden_csv(golden, "f2_timeroc_pbc", tmp_path)
    found = numbers(
        "stats", "survival", path, "--time", "years", "--event", "dead", "--score", "lp_full", "--cut", "maxstat",
        "--at", "1,3,5,8",
    )  # fmt: skip
    truth = cuts["maxstat"]["lp_full"]
    np.testing.assert_allclose(
        [found["cut"]["maxstat_cutpoint"], found["cut"]["statistic"], found["cut"]["p_lau92"]],
        [truth["cutpoint"], truth["statistic"], truth["p_Lau92"]], rtol=1e-8,
    )  # fmt: skip
    # R computes 1 - (pnorm(b) - pnorm(-b)), which loses what lies beyond 1e-16.
    np.testing.assert_allclose(found["cut"]["p_corrected"], truth["p_Lau94"], atol=1e-16)
    assert found["cut"]["same_data"] is True
    assert truth["cutpoint"] < found["cut"]["value"] < truth["cutpoint"] + 0.05  # halfway to the next score
    roc = reference["timeROC"]["lp_full"]
    np.testing.assert_allclose([row["auc"] for row in found["score"]["auc"]], roc["AUC"], rtol=1e-9)
    np.testing.assert_allclose([row["se"] for row in found["score"]["auc"]], roc["se"], atol=1e-6)


@pytest.mark.parametrize(("name", "k"), [("expsy", 3), ("shrout_fleiss", 4), ("expsy_two_readers", 2)])
def test_agreement_is_that_of_psych(golden, numbers, tmp_path, name, k):
    def long(frame):
        part = frame[frame["set"] == name.removesuffix("_two_readers")]
        wide = part[["subject", *[f"r{j + 1}" for j in range(k)]]]
        return wide.melt("subject", var_name="reader", value_name="grade").sample(frac=1, random_state=1)

    reference, path = _golden_csv(golden, "g_icc", tmp_path, long)
    found = numbers("stats", "agreement", path, "--subject", "subject", "--rater", "reader", "--value", "grade")
    for form, truth in reference[name]["psych"].items():
        np.testing.assert_allclose([found["icc"][form][key] for key in truth], list(truth.values()), rtol=1e-9)
    if name == "expsy":
        for key, wanted in (("r1 and r2", "r1_r2"), ("r1 and r2, quadratic weights", "r1_r2_quadratic")):
            np.testing.assert_allclose(found["kappa"][key]["kappa"], reference["kappa"][wanted]["kappa"])
        np.testing.assert_allclose(found["kappa"]["all raters (Fleiss)"]["kappa"], reference["fleiss_kappa"]["kappa"])
        np.testing.assert_allclose(found["kendall_w"], reference["kendall_w"])


def test_sample_sizes_are_those_of_pmsampsize(golden, numbers):
    reference, frame = golden("l_sample_size")
    for row in frame.itertuples():
        kind = (
            ("--prevalence", row.prevalence) if row.type == "b"
            else ("--rate", row.rate, "--time-point", row.timepoint, "--follow-up", row.meanfup)
        )  # fmt: skip
        found = numbers("stats", "samplesize", "--parameters", int(row.parameters), "--r2", row.csrsquared, *kind)
        truth = reference["binary" if row.type == "b" else "survival"][row.id]
        assert found["n"] == truth["sample_size"]
        np.testing.assert_allclose(found["events"], truth["events"], rtol=1e-6)


def test_describe_is_that_of_r(golden, numbers, tmp_path):
    reference, path = _golden_csv(golden, "i_univariate_tables", tmp_path)
    found = numbers("stats", "describe", path, "--by", "dead", "--categorical", "edema")["variables"]
    assert "id" not in found
    tests = {"Welch t": ("t_welch", "p"), "Mann-Whitney": ("mann_whitney", "p_cc")}
    for name, truth in reference["numeric"].items():
        group, other = truth["mean0"], truth["q_type7_1"]
        np.testing.assert_allclose(found[name]["groups"]["0"]["mean"], group, rtol=1e-9)
        np.testing.assert_allclose([found[name]["groups"]["1"][q] for q in ("q1", "median", "q3")], other, rtol=1e-9)
        np.testing.assert_allclose(found[name]["smd"], truth["smd_pooled_avgvar"], rtol=1e-9)
        test, key = tests[found[name]["test"]]
        np.testing.assert_allclose(found[name]["p"], truth[test][key], rtol=1e-8)
        assert found[name]["missing"] == truth["missing"]
    for name, truth in reference["categorical"].items():
        wanted = truth["p_pearson"] if found[name]["test"] == "chi-square" else truth["p_fisher"]
        np.testing.assert_allclose(found[name]["p"], wanted, rtol=1e-7, err_msg=name)
