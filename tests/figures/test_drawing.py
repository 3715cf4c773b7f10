"""Every figure: nothing overlaps, nothing is cut off, the numbers given are the numbers drawn."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from hepacast.core.estimates import Estimate
from hepacast.figures import style
from hepacast.figures.check import text_problems
from hepacast.figures.curves import draw_calibration, draw_decision, draw_roc
from hepacast.figures.flow import DesignStage, FlowSet, draw_flow, draw_study_design
from hepacast.figures.forest import ForestRow, draw_forest
from hepacast.figures.images import Picture, draw_segmentation_examples
from hepacast.figures.kaplan_meier import draw_km
from hepacast.figures.lasso import draw_lasso_cv, draw_lasso_path, draw_weights
from hepacast.figures.network import draw_network
from hepacast.figures.nomogram import draw_nomogram
from hepacast.figures.patients import ShareBar, draw_risk_distribution, draw_shares, draw_waterfall
from hepacast.figures.style import save_figure, styled
from hepacast.figures.validation import (
    AucRow,
    draw_null_distribution,
    draw_selection_frequency,
    draw_validation_compare,
)

G = np.random.default_rng(3)
FEATURES = (
    "parenchyma:wavelet-LLH_glcm_Idn",
    "tumor:original_shape_Sphericity",
    "parenchyma:log-sigma-2-0-mm-3D_gldm_LargeDependenceHighGrayLevelEmphasis",
    "tumor:squareroot_glszm_GrayLevelNonUniformityNormalized",
)
TICKS = np.linspace(0.05, 0.95, 19)


def nomogram_spec(example: bool = False) -> dict[str, Any]:
    risks = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
    spec: dict[str, Any] = {
        "predictors": [
            {
                "name": "radscore",
                "label": "Radscore",
                "ticks": [
                    {"value": v, "label": f"{v:g}", "points": (v + 3) / 6 * 100} for v in np.arange(-3, 3.1, 0.5)
                ],
            },
            {
                "name": "ctp",
                "label": "Child-Pugh class in the week before the procedure",
                "ticks": [{"value": v, "label": v, "points": p} for v, p in (("A", 0.0), ("B", 2.0), ("C", 3.0))],
            },
        ],
        "points_max": 100,
        "total_ticks": list(range(0, 161, 20)),
        "outputs": [
            {
                "label": "Risk of PTLF",
                "ticks": [
                    {"value": p, "label": f"{p:g}", "total_points": (np.log(p / (1 - p)) + 6) * 13} for p in risks
                ],
            }
        ],
        "example": None,
    }
    if example:
        spec["example"] = {
            "values": {"radscore": {"label": "0.62", "points": 60.3}, "ctp": {"label": "B", "points": 2.0}},
            "total": 62.3,
            "output": {"Risk of PTLF": 0.231},
        }
    return spec


def nomogram_of_many() -> dict[str, Any]:
    """Twenty predictors that outweigh each other: totals are shown where the risks lie, the patient's is below."""
    spec = nomogram_spec()
    ticks = [{"value": v, "label": f"{v:g}", "points": 5.0 * v} for v in range(5)]
    names = [f"b{number}" for number in range(20)]
    spec["predictors"] = [{"name": name, "label": f"Liver around the tumor {name}", "ticks": ticks} for name in names]
    spec["total_ticks"] = list(range(170, 216, 5))
    for tick in spec["outputs"][0]["ticks"]:
        tick["total_points"] = 192 + (tick["total_points"] - 78) / 119 * 32
    values = {name: {"label": "2", "points": 10.0} for name in names}
    spec["example"] = {"values": values, "total": 160.0, "output": {"Risk of PTLF": 0.9}}
    return spec


def roc() -> Figure:
    names = ("Clinical", "Radiomics", "Combined")
    line = SimpleNamespace(fpr=[0, 0.2, 1], tpr=[0, 0.7, 1])
    return draw_roc({n: (line, Estimate(0.7, 0.6, 0.8)) for n in names}, title="Validation")


def calibration() -> Figure:
    risks = G.beta(1, 3, 60)
    return draw_calibration(
        [
            SimpleNamespace(predicted=0.1, observed=Estimate(0.08, 0.0, 0.3)),
            SimpleNamespace(predicted=0.5, observed=Estimate(0.55, 0.3, 0.8)),
        ],
        smooth=SimpleNamespace(predicted=[0.1, 0.9], observed=[0.1, 0.8], low=[0.0, 0.6], high=[0.3, 1.2]),
        notes=["Slope 0.90 (0.50–1.30)", "Intercept 0.10 (−0.40–0.60)", "ICI 0.050"],
        risks=risks,
        outcomes=(G.random(60) < risks).astype(int),
    )


def decision() -> Figure:
    curve = 0.25 - 0.2 * TICKS
    return draw_decision(
        {
            n: SimpleNamespace(thresholds=TICKS, net_benefit=curve * s, low=curve * s - 0.05, high=curve * s + 0.05)
            for n, s in (("A", 1), ("B", 0.8))
        },
        TICKS,
        0.25 - 0.75 * TICKS / (1 - TICKS),
        prevalence=0.25,
    )


def lasso_path() -> Figure:
    lambdas = np.exp(np.linspace(-1, -5, 30))
    coefficients = {f"t:f{i}": np.clip(np.linspace(-1, i / 9, 30), 0, None) for i in range(1, 9)}
    return draw_lasso_path(lambdas, coefficients, n_nonzero=list(range(30)), chosen=lambdas[20])


def lasso_cv() -> Figure:
    lambdas = np.exp(np.linspace(-1, -5, 30))
    mean = 1 + (np.linspace(-1, 1, 30)) ** 2
    return draw_lasso_cv(
        lambdas, mean, np.full(30, 0.1), n_nonzero=list(range(30)), lambda_min=lambdas[15], lambda_1se=lambdas[10]
    )


def flow() -> Figure:
    excluded = [("extrahepatic metastases", 120), ("a reason that is much longer than the box is wide, twice over", 31)]
    sets = [FlowSet("training", 147, 36), FlowSet("validation", 63, 16)]
    return draw_flow(361, excluded, 210, sets, event_label="PTLF")


def design() -> Figure:
    stages = [DesignStage(f"Stage {i}", ["A line of text that has to be wrapped", "Short"], "Result") for i in range(5)]
    return draw_study_design(stages)


def network() -> Figure:
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]
    return draw_network(
        [32, 64, 128, 256, 320, 320], strides, [[3, 3, 3]] * 6, [28, 256, 256], ["parenchyma", "tumor"],
        blocks_per_stage=[2] * 6, spacing_mm=[5, 0.74, 0.74],
    )  # fmt: skip


def km() -> Figure:
    curves = {
        n: SimpleNamespace(
            time=[0, 100, 300, 500],
            survival=[1, 0.8, s, s / 2],
            low=[1, 0.7, s - 0.1, 0],
            high=[1, 0.9, s + 0.1, 0.5],
            censored=[200, 400],
            at_risk=[40, 20, 5],
        )
        for n, s in (("Low risk", 0.6), ("High risk", 0.3))
    }
    return draw_km(curves, at_risk_times=[0, 200, 400], p=0.0004, note="Hazard ratio 2.31 (1.42–3.76)")


def forest() -> Figure:
    nan = float("nan")
    return draw_forest(
        [
            ForestRow("INR, per 0.1", 2.14, 1.46, 3.1, 0.0001),
            ForestRow("INR, per unit", 1992.2, 46.6, 85113.6, 0.0004),
            ForestRow("Sex: male", 0.9, 0.001, 20, 0.62),
            ForestRow("Separated", nan, nan, nan),
        ]
    )


def validation() -> Figure:
    rows = [
        AucRow(m, w, a, a - 0.08, a + 0.08, h)
        for m in ("clinical", "combined")
        for w, a, h in (("Apparent", 0.88, False), ("Nested cross-validation", 0.74, True))
    ]
    return draw_validation_compare(rows, bayes_auc=0.8)


def shares() -> Figure:
    bars = [ShareBar("INR", "1.31", 0.9), ShareBar("ALB (g/L)", "33.5", -0.4)]
    return draw_shares(bars, risk=0.5, baseline_risk=0.2)


FIGURES: dict[str, Callable[[], Figure]] = {
    "roc": roc,
    "calibration": calibration,
    "decision": decision,
    "lasso_path": lasso_path,
    "lasso_cv": lasso_cv,
    "weights": lambda: draw_weights(dict(zip(FEATURES, (0.5, 0.3, -0.2, -0.01), strict=True))),
    "flow": flow,
    "flow_nobody_excluded": lambda: draw_flow(84, [], 84, [FlowSet("training", 84, 40)]),
    "design": design,
    "network": network,
    "km": km,
    "forest": forest,
    "validation": validation,
    "null": lambda: draw_null_distribution(G.normal(0.5, 0.05, 200), 0.78, 0.005),
    "frequency": lambda: draw_selection_frequency([(n, 0.5) for n in FEATURES], selected=FEATURES[:1], refits=50),
    "nomogram": lambda: draw_nomogram(nomogram_spec()),
    "nomogram_of_many": lambda: draw_nomogram(nomogram_of_many()),
    "nomogram_example": lambda: draw_nomogram(nomogram_spec(example=True), title="Patient P017"),
    "waterfall": lambda: draw_waterfall(np.linspace(0.05, 0.9, 30), [0, 1] * 15, threshold=0.3),
    "distribution": lambda: draw_risk_distribution([("Training", np.linspace(0, 1, 20), [0, 1] * 10)]),
    "shares": shares,
    "pictures": lambda: draw_segmentation_examples(
        [Picture(np.zeros((40, 50)), f"P{i}") for i in range(4)], legend={"Tumor": "#D55E00"}
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_or_leaves_the_page(name: str) -> None:
    assert text_problems(FIGURES[name]()) == []


def test_the_check_sees_an_overlap_and_a_cut() -> None:
    figure = roc()
    axes = figure.axes[0]
    axes.text(0.5, 0.5, "one text here", ha="center")
    axes.text(0.52, 0.5, "another text", ha="center")
    figure.text(0.99, 0.5, "a long text that leaves the page")
    problems = text_problems(figure)
    assert any("one text here" in line and "another text" in line for line in problems)
    assert any(line.startswith("cut off") for line in problems)


def test_files_are_the_same_when_drawn_again(tmp_path: Any) -> None:
    first = save_figure(roc(), tmp_path / "a" / "roc")
    second = save_figure(roc(), tmp_path / "b" / "roc")
    assert [path.suffix for path in first] == [".pdf", ".svg", ".png"]
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.suffix


def test_pdf_embeds_the_shipped_font_as_truetype(tmp_path: Any) -> None:
    pypdf = pytest.importorskip("pypdf")
    (path,) = save_figure(roc(), tmp_path / "roc", formats=("pdf",))
    fonts = pypdf.PdfReader(path).pages[0]["/Resources"]["/Font"]
    names = []
    for reference in fonts.values():
        font = reference.get_object()
        descendant = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        assert "/FontFile2" in descendant["/FontDescriptor"].get_object(), font["/BaseFont"]
        names.append(str(font["/BaseFont"]))
    assert any("LiberationSans" in name for name in names)


def test_printed_size_and_resolution(tmp_path: Any) -> None:
    from PIL import Image

    (path,) = save_figure(roc(), tmp_path / "roc", formats=("png",), dpi=300)
    with Image.open(path) as image:
        assert abs(image.width - 85 / 25.4 * 300) <= 1


def test_drawing_leaves_matplotlib_alone() -> None:
    code = (
        "import sys, matplotlib as m; m.rcParams['font.size'] = 4; family = str(m.rcParams['font.family']);"
        "from hepacast.figures.curves import draw_roc; from hepacast.core.estimates import Estimate;"
        "from types import SimpleNamespace as S; draw_roc({'a': (S(fpr=[0, 1], tpr=[0, 1]), Estimate(0.5))});"
        "assert m.rcParams['font.size'] == 4; assert str(m.rcParams['font.family']) == family;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_room_does_not_import_matplotlib() -> None:
    code = "import sys, hepacast.figures; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def texts(figure: Figure) -> list[str]:
    from matplotlib.text import Text

    return [item.get_text() for item in figure.findobj(Text) if item.get_text()]


def test_flow_counts_are_drawn() -> None:
    shown = [text.replace("\N{NO-BREAK SPACE}", " ") for text in texts(flow())]
    assert "n = 361" in shown
    assert "Excluded (n = 151)" in shown
    assert "extrahepatic metastases (n = 120)" in shown
    assert "PTLF: 36 (24.5%)" in shown


def test_interval_beyond_the_axis_is_an_arrow_and_its_number_is_printed() -> None:
    figure = forest()
    assert "1,992 (46.60–85,114)" in texts(figure)
    arrows = [line for line in figure.axes[0].lines if line.get_marker() == ">"]
    assert len(arrows) == 1
    assert "not estimable" in texts(figure)


def test_decision_axis_does_not_follow_treat_all_down() -> None:
    low, high = decision().axes[0].get_ylim()
    assert low == pytest.approx(-0.35 * 0.25)
    # Room above the prevalence, and for the whole of the widest band; not for treat-all below.
    assert 1.12 * 0.25 - 1e-9 <= high < 1.3 * 0.25


def test_an_axis_too_short_for_its_ticks_is_said_in_words_from_no_points_to_most() -> None:
    """Fourteen ticks on seven points would be a black block; what falls reads from the value without points on."""
    from matplotlib.text import Text

    plain, spec = nomogram_spec(), nomogram_spec()
    for number in range(20):
        ticks = [{"value": v, "label": f"{v:g}", "points": (4 - v) / 6.5 * 7.0} for v in np.arange(-2.5, 4.1, 0.5)]
        spec["predictors"].append({"name": f"b{number}", "label": f"Rim minus liver {number}", "ticks": ticks})
    figure = draw_nomogram(spec)
    texts = [item.get_text() for item in figure.findobj(Text)]
    assert texts.count("4 to \N{MINUS SIGN}2.5: 0 to 7.0 points") == 20
    assert "A" in texts and "C" in texts  # the levels of a factor keep their places
    added = (figure.get_size_inches()[1] - draw_nomogram(plain).get_size_inches()[1]) * 25.4
    assert added < 20 * 8


def test_nomogram_ticks_stand_at_their_points() -> None:
    """The tick of Radscore 0 has 50 points: it stands under the 50 of the points axis."""
    figure = draw_nomogram(nomogram_spec())
    place = {}
    from matplotlib.text import Text

    for item in figure.findobj(Text):
        place.setdefault(item.get_text(), []).append(item.get_position())
    x_50 = next(x for x, y in place["50"])
    assert any(abs(x - x_50) < 1e-9 for x, y in place["0"])


def test_text_of_a_pdf_stays_text_and_fonts_are_read_as_before(tmp_path) -> None:
    from fontTools import subset
    from pypdf import PdfReader

    whole = subset.load_font
    (path,) = save_figure(draw_nomogram(nomogram_spec()), tmp_path / "figure", formats=("pdf",))
    assert subset.load_font is whole
    assert "Child-Pugh class in the week" in " ".join(PdfReader(path).pages[0].extract_text().split())


def test_one_thread_draws_at_a_time() -> None:
    """matplotlib's settings are the whole process's: who ends first would take the style from the other."""
    from threading import Event, Thread

    drawn = Event()
    other = Thread(target=styled(drawn.set))

    @styled
    def draw() -> bool:
        other.start()
        return drawn.wait(0.3)

    assert not draw()
    other.join(5)
    assert drawn.is_set()


def test_chinese_labels_are_drawn_where_the_computer_has_a_font(tmp_path):
    if not style.chinese_files():
        pytest.skip("no Chinese font on this computer (Debian: fonts-wqy-microhei)")

    @style.styled
    def draw():
        figure = style.new_figure(85, 40)
        figure.add_subplot().set_title("白蛋白 albumin (g/L)")
        return figure

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib's word for a sign that no font has
        written = style.save_figure(draw(), tmp_path / "label")
    assert len(written) == 3
