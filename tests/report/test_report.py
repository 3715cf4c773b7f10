"""The whole report: what is in it, what is left out and why, that it stands alone, that it is the same every time."""

from __future__ import annotations

import csv
import html.parser
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import pytest

from hepacast.core.records import ResultsError
from hepacast.errors import HepacastError
from hepacast.evaluation.results import headline_set
from hepacast.report import build_report
from hepacast.report.assets import write_assets
from hepacast.report.column_widths import text_width
from hepacast.report.content import compose
from hepacast.report.content.common import judged_set, main_model
from hepacast.report.model import Bullets, Callout, FigureBlock, Paragraph, TableBlock, number_blocks
from hepacast.report.pdf import write_pdf
from hepacast.report.results import load_results

Changed = Callable[..., Path]
NAMES = ("report", "supplement", "audit")


@pytest.fixture(scope="session")
def written(complete: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    assert build_report(complete, out=out) == out / "report.html"
    return out


class Page(html.parser.HTMLParser):
    """Addresses, identifiers and text of a page; fails on tags that are not closed in order."""

    VOID = frozenset({"meta", "img", "br", "link", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.images_without_text = 0
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in self.VOID:
            self.stack.append(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "a":
            self.links.append(str(values.get("href")))
        if tag == "img":
            self.sources.append(str(values.get("src")))
            self.images_without_text += not (values.get("alt") or "").strip()
        assert tag not in ("script", "iframe", "link", "object")

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="session")
def page(written: Path) -> Page:
    page = Page()
    page.feed((written / "report.html").read_text(encoding="utf-8"))
    assert page.stack == []
    return page


def text_of(page: Page) -> str:
    return re.sub(r"\s+", " ", " ".join(page.words))


def test_everything_of_the_study_is_there(complete: Path) -> None:
    """Tables 1-3 and S1-S2, Figures 1-5 and S1-S2 have the paper's numbers."""
    places = number_blocks(compose(load_results(complete)))
    numbers = {key: place.number for key, place in places.items()}
    assert {key: numbers[key] for key in ("segmentation", "univariate", "multivariate")} == {
        "segmentation": "Table 1",
        "univariate": "Table 2",
        "multivariate": "Table 3",
    }
    figures = {"design": 1, "network": 2, "signature": 3, "performance": 4, "nomogram": 5}
    assert {key: numbers[key] for key in figures} == {key: f"Figure {n}" for key, n in figures.items()}
    assert numbers["segmentation-cohort"] == "Table S1"
    assert numbers["sets"] == "Table S2"
    assert numbers["overlays"] == "Figure S1"
    assert numbers["example"] == "Figure S2"


def test_performance_figure_has_the_four_panels(complete: Path) -> None:
    blocks = compose(load_results(complete)).blocks()
    figure = next(b for b in blocks if isinstance(b, FigureBlock) and b.key == "performance")
    assert len(figure.panels) == 4
    for words in ("ROC curves, validation set", "decision curves", "training set", "calibration of the combined model"):
        assert words in figure.caption


def test_page_stands_alone(page: Page, written: Path) -> None:
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert page.images_without_text == 0
    assert len(page.ids) == len(set(page.ids))
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))
    assert {link.split("#")[0] for link in page.links} == {"", "supplement.html", "audit.html"}
    raw = "".join((written / f"{name}.html").read_text(encoding="utf-8") for name in NAMES)
    assert not re.search(r"(?:src|href)=[\"']https?:", raw)
    assert "url(" not in raw


def test_numbers_on_the_page_are_those_of_the_results(page: Page, complete: Path) -> None:
    text = text_of(page)
    evaluation = json.loads((complete / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    for model in ("clinical", "radiomics", "combined"):
        auc = evaluation["sets"]["validation"]["models"][model]["horizons"][0]["auc"]
        assert f"{auc['value']:.3f} ({auc['low']:.3f}–{auc['high']:.3f})" in text
    score = json.loads((complete / "modelling" / "models.json").read_text(encoding="utf-8"))["radiomics"]["radscore"]
    for term in score["terms"]:
        assert f"{abs(term['weight']):.4f} × z({term['feature']})" in text


def test_sentences_get_numbered_references(page: Page) -> None:
    text = text_of(page)
    assert "PTLF was defined by the APASL criteria" in text
    assert "[@" not in text
    assert re.search(r"1\. Sarin SK", text)
    assert "Isensee F" in text


def test_no_key_is_left_unresolved(page: Page) -> None:
    assert not re.search(r"\{[a-z-]+\}", text_of(page))


def test_every_table_and_figure_is_a_file(written: Path, complete: Path) -> None:
    report = compose(load_results(complete))
    numbers = number_blocks(report)
    for block in report.blocks():
        stem = numbers[block.key].anchor if isinstance(block, TableBlock | FigureBlock) else ""
        if isinstance(block, TableBlock):
            for suffix in ("csv", "docx"):
                assert (written / "tables" / f"{stem}.{suffix}").stat().st_size > 40
        elif isinstance(block, FigureBlock):
            letters = [chr(97 + i) for i in range(len(block.panels))] if len(block.panels) > 1 else [""]
            for letter in letters:
                for suffix in ("pdf", "svg", "png"):
                    assert (written / "figures" / f"{stem}{letter}.{suffix}").stat().st_size > 1000


def test_documents_link_to_places_that_exist(written: Path) -> None:
    """HTML, PDF and DOCX: what a document names in another one is there, under that name."""
    pypdf = pytest.importorskip("pypdf")
    pages, named, words = {}, {}, {}
    for name in NAMES:
        pages[name] = Page()
        pages[name].feed((written / f"{name}.html").read_text(encoding="utf-8"))
        reader = pypdf.PdfReader(written / f"{name}.pdf")
        named[name] = reader
        words[name] = zipfile.ZipFile(written / f"{name}.docx").read("word/document.xml").decode("utf-8")
    for page in pages.values():
        for file, _, anchor in (link.partition("#") for link in page.links):
            if file and anchor:
                assert anchor in pages[file.removesuffix(".html")].ids
    crossing = 0
    for reader in named.values():
        for annotation in (a.get_object() for p in reader.pages for a in p.get("/Annots", [])):
            action = annotation.get("/A", {})
            if action.get("/S") == "/GoToR":
                other = named[str(action["/F"]).removesuffix(".pdf")]
                assert str(action["/D"]) in {str(key) for key in other.trailer["/Root"]["/Dests"]}
                crossing += 1
    assert crossing > 10
    for name in NAMES:
        own = re.findall(r'<w:hyperlink w:anchor="(\w+)">', words[name])
        assert set(own) <= set(re.findall(r'<w:bookmarkStart [^>]*w:name="(\w+)"', words[name]))
    assert re.search(r'<w:hyperlink w:anchor="\w+_s\d+" r:id="', words["report"])


@pytest.mark.usefixtures("words_of_figures")
def test_pages_are_full(complete: Path, tmp_path: Path) -> None:
    """No page of a document but its last is half empty."""
    report = compose(load_results(complete))
    assets = write_assets(report, tmp_path)
    for document in report.documents:
        used = write_pdf(report, document, assets, tmp_path / f"{document.name}.pdf")
        assert min(used[:-1]) > 0.55, (document.name, used)
        assert sum(used[:-1]) / len(used[:-1]) > 0.8, (document.name, used)


@pytest.mark.usefixtures("words_of_figures")
def test_files_of_an_earlier_report_do_not_stay(changed: Changed, tmp_path: Path) -> None:
    folder = changed("segmentation")
    for name in (
        "tables/supplementary-table-9.csv",
        "tables/table-s99.csv",
        "figures/figure-7b.png",
        "tables/mine.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old", encoding="utf-8")
    build_report(folder, formats=("html",), out=tmp_path)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"old"}
    assert left == {"mine.csv"}


def test_csv_holds_the_table(written: Path) -> None:
    with (written / "tables" / "table-1.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0][:2] == ["Metric", "Structure"]
    assert rows[0][-1] == "Mean"
    assert {len(row) for row in rows} == {len(rows[0])}
    dice = [float(cell) for cell in rows[1][2:]]
    assert dice[-1] == pytest.approx(sum(dice[:-1]) / len(dice[:-1]), abs=0.006)


def test_pdf_has_pages_fonts_and_captions(written: Path) -> None:
    pypdf = pytest.importorskip("pypdf")
    for name, shown in (
        ("report", ("Figure 1.", "Figure 5.", "Table 3.")),
        ("supplement", ("Table S2.", "Figure S2.")),
        ("audit", ("Table A1.",)),
    ):
        reader = pypdf.PdfReader(written / f"{name}.pdf")
        text = re.sub(r"\s+", " ", " ".join(p.extract_text() for p in reader.pages))
        assert 5 <= len(reader.pages) <= 12
        assert all(words in text for words in (*shown, "Research use only"))
        assert "■" not in text
    reader = pypdf.PdfReader(written / "report.pdf")
    fonts = {str(f.get_object()["/BaseFont"]) for p in reader.pages for f in p["/Resources"]["/Font"].values()}
    body = {name for name in fonts if "Liberation" in name}
    assert body
    assert {entry["/Title"] for entry in reader.outline} >= {"Summary", "Methods", "Limits"}


def test_docx_opens(written: Path) -> None:
    docx = pytest.importorskip("docx")
    document = docx.Document(str(written / "report.docx"))
    headings = [p.text for p in document.paragraphs if p.style.name == "Heading 1"]
    assert "Performance" in headings
    assert len(document.tables) >= 6
    assert len(document.inline_shapes) >= 10


@pytest.mark.slow
def test_whole_report_is_the_same_when_written_again(complete: Path, written: Path, tmp_path: Path) -> None:
    build_report(complete, out=tmp_path)
    for path in sorted(p for p in written.rglob("*") if p.is_file()):
        assert (tmp_path / path.relative_to(written)).read_bytes() == path.read_bytes(), path.name


def test_report_is_the_same_when_written_again(changed: Changed, tmp_path: Path) -> None:
    for name in ("segmentation", "modelling", "evaluation"):
        folder = changed(name)
    for name in ("a", "b"):
        build_report(folder, out=tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert {f"{name}.{form}" for name in NAMES for form in ("html", "pdf", "docx")} <= {str(path) for path in files}
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def section(folder: Path, title: str) -> list[Any]:
    return list(next(s for s in compose(load_results(folder)).sections if s.title == title).blocks)


@pytest.mark.parametrize(
    ("missing", "title", "reason"),
    [
        ("segmentation", "Segmentation", "features came as a table"),
        ("modelling/models.json", "Nomogram", "no nomogram"),
        ("modelling/validation.json", "Honest validation", "no validation"),
        ("evaluation/evaluation.json", "Performance", "no evaluation"),
        ("run.json", "Checks and provenance", "run.json"),
    ],
)
def test_missing_part_is_left_out_with_the_reason(changed: Changed, missing: str, title: str, reason: str) -> None:
    report = compose(load_results(changed(missing)))
    others = [item.title for item in report.sections if item.title != "Checks and provenance"]
    assert title not in others
    told = report.sections[-1].blocks[-1]
    assert isinstance(told, Paragraph)
    assert re.search(rf"left out: .*{title} \([^)]*{reason}", told.text)


def test_bare_cohort_still_gives_a_report(changed: Changed, tmp_path: Path) -> None:
    for name in ("segmentation", "radiomics", "modelling", "evaluation"):
        folder = changed(name)
    path = build_report(folder, formats=("html",), out=tmp_path / "bare")
    text = path.with_name("audit.html").read_text(encoding="utf-8")
    assert "Sections with nothing to show are left out: " in text
    assert "There is nothing to show here" not in text


def test_words_of_word_tables_are_not_broken(written: Path) -> None:
    """Every column is as wide as its longest word, and limits stand under their estimate where they do not fit."""
    tables = [table for name in NAMES for table in docx.Document(str(written / f"{name}.docx")).tables]
    for table in tables:
        size = table.rows[0].cells[0].paragraphs[0].runs[0].font.size.pt
        for row in table.rows:
            if len({id(cell._tc) for cell in row.cells}) < len(table.columns):
                continue
            for column, place in zip(table.columns, row.cells, strict=True):
                longest = max((text_width(word, size) for word in place.text.split()), default=0.0)
                assert longest <= column.width.pt or column.width.pt >= 200, place.text


def test_nothing_found_is_said_first(changed: Changed) -> None:
    def no_signal(content: dict[str, Any]) -> dict[str, Any]:
        content["models"]["combined"]["nested"]["estimate"] = {"value": 0.51, "low": 0.42, "high": 0.6}
        content["models"]["combined"]["frozen"] = {"value": 0.55, "low": 0.4, "high": 0.7}
        content["permutation"]["p"] = 0.44
        return content

    first = section(changed("modelling/validation.json", no_signal), "Summary")[0]
    assert isinstance(first, Callout)
    assert first.title == "Nothing was found"
    assert "0.510 (0.420–0.600)" in first.text
    assert "P = .44" in first.text


def test_disagreement_of_nested_and_frozen_is_not_called_nothing(changed: Changed) -> None:
    def divided(content: dict[str, Any]) -> dict[str, Any]:
        content["models"]["combined"]["nested"]["estimate"] = {"value": 0.56, "low": 0.45, "high": 0.67}
        content["models"]["combined"]["frozen"] = {"value": 0.75, "low": 0.62, "high": 0.88}
        return content

    first = section(changed("modelling/validation.json", divided), "Summary")[0]
    assert isinstance(first, Callout)
    assert first.title == "The evidence is divided"
    assert "0.750 (0.620–0.880)" in first.text


def test_equal_findings_share_a_line(changed: Changed) -> None:
    def many(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
        one = {"severity": "warning", "code": "outcome-unknown", "message": "no outcome", "row": None, "column": None}
        return [*content, *({**one, "patient": f"P{i:03d}"} for i in range(20))]

    blocks = section(changed("cohort/findings.json", many), "Checks and provenance")
    table = next(b.table for b in blocks if isinstance(b, TableBlock) and b.key == "findings")
    (row,) = [row for row in table.rows if row.cells[4] == "no outcome"]
    assert row.cells[1].startswith("P000, P001")
    assert row.cells[1].endswith("and 8 more")


def test_checklists_answer_with_what_exists(complete: Path, changed: Changed) -> None:
    def answers(folder: Path, key: str) -> dict[str, str]:
        report = compose(load_results(folder))
        table = next(b.table for b in report.blocks() if isinstance(b, TableBlock) and b.key == f"checklist-{key}")
        numbers = number_blocks(report)
        for row in table.rows:
            for name in re.findall(r"\{([\w-]+)\}", row.cells[3]):
                assert name in numbers, (row.cells[0], name)
        return {row.cells[0]: row.cells[3] for row in table.rows}

    full = answers(complete, "clear")
    assert len(full) == 58
    assert "{segmentation}" in full["19"]
    assert full["8"] == "Author to fill"
    assert full["57"] == "Author to fill"
    assert len(answers(complete, "tripod_ai")) == 52
    bare = answers(changed("segmentation"), "clear")
    assert bare["19"] == "Author to fill"


def test_something_found_is_not_called_nothing(complete: Path) -> None:
    assert not any(isinstance(b, Callout) and b.kind == "warning" for b in section(complete, "Summary"))


def test_truth_stands_beside_the_estimate(complete: Path, changed: Changed) -> None:
    truth = json.loads((complete / "cohort" / "truth.json").read_text(encoding="utf-8"))
    panel = next(b for b in section(complete, "Summary") if isinstance(b, Callout))
    assert panel.kind == "truth"
    assert f"{truth['bayes_auc']['training']:.3f}" in panel.text
    folder = changed("cohort/truth.json", lambda c: c | {"planted": False, "terms": []})
    panel = next(b for b in section(folder, "Summary") if isinstance(b, Callout))
    assert "no effect was planted" in panel.text


def test_real_patients_have_no_truth_panel(changed: Changed) -> None:
    folder = changed("cohort/truth.json")
    text = " ".join(str(block) for block in section(folder, "Summary") + section(folder, "Limits"))
    assert "virtual" not in text


def test_failed_model_says_why(changed: Changed) -> None:
    def fail(content: dict[str, Any]) -> dict[str, Any]:
        models = content["sets"]["validation"]["models"]
        failed = {"time": "inf", "status": "no signal", "reason": "no feature survived", "auc": {"value": None}}
        models["radiomics"] = {"horizons": [failed]}
        return content

    blocks = section(changed("evaluation/evaluation.json", fail), "Performance")
    assert any(isinstance(b, Callout) and "no feature survived" in b.text for b in blocks)
    table = next(b.table for b in blocks if isinstance(b, TableBlock) and b.key == "discrimination")
    assert any("no feature survived" in row.cells for row in table.rows)


def test_limits_are_read_off_the_numbers(complete: Path, changed: Changed) -> None:
    text = " ".join(str(block) for block in section(complete, "Limits"))
    assert "18 events; with fewer than 100" in text
    assert "17 patients were left out" in text

    def random_split(folder: Path) -> None:
        path = folder / "study.resolved.yaml"
        path.write_text(path.read_text(encoding="utf-8").replace("by: column", "by: random"), encoding="utf-8")

    folder = changed("cohort/truth.json")
    random_split(folder)
    text = " ".join(str(block) for block in section(folder, "Limits"))
    assert "random part of the same cohort" in text


def test_markup_in_data_is_escaped(changed: Changed, tmp_path: Path) -> None:
    def attack(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
        content[0]["message"] = "<script>alert(1)</script> & ALB < 3"
        return content

    for name in ("segmentation", "modelling", "evaluation"):
        changed(name)
    folder = changed("cohort/findings.json", attack)
    path = build_report(folder, formats=("html", "pdf"), out=tmp_path / "r")
    raw = path.read_text(encoding="utf-8") + path.with_name("audit.html").read_text(encoding="utf-8")
    assert "<script>" not in raw
    assert "&lt;script&gt;" in raw


def test_not_a_results_folder(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="not a results folder"):
        build_report(tmp_path)


def test_unknown_format(complete: Path, tmp_path: Path) -> None:
    with pytest.raises(HepacastError, match="format does not exist"):
        build_report(complete, formats=("odt",), out=tmp_path)


def test_damaged_file_names_the_field(changed: Changed) -> None:
    def damage(content: dict[str, Any]) -> dict[str, Any]:
        content["sets"]["validation"]["models"]["combined"]["horizons"][0]["auc"]["value"] = "high"
        return content

    with pytest.raises(ResultsError) as caught:
        load_results(changed("evaluation/evaluation.json", damage))
    assert "sets.validation.models.combined.horizons[0].auc.value" in str(caught.value)


def test_results_of_another_version_are_opened_or_the_version_is_named(changed: Changed) -> None:
    folder = changed("run.json", lambda content: content | {"version": "0.0.9"})
    assert load_results(folder).run.version == "0.0.9"  # the files still mean the same

    def other(content: dict[str, Any]) -> dict[str, Any]:
        return {"groups": content["sets"]}

    changed("evaluation/evaluation.json", other)
    with pytest.raises(ResultsError, match=r"made by hepacast 0\.0\.9") as caught:
        load_results(folder)
    assert "pip install hepacast==0.0.9" in str(caught.value) and "hepacast run" in str(caught.value)


def test_headline_set_and_main_model_follow_one_rule(changed: Changed) -> None:
    """An external set judges before a validation set; a network listed last is not what the study is about."""
    edit = "evaluation/evaluation.json"
    content = json.loads((changed(edit, lambda c: c) / edit).read_text(encoding="utf-8"))

    def with_external(found: dict[str, Any]) -> dict[str, Any]:
        for item in found["sets"].values():
            item["models"]["ResNet"] = item["models"]["clinical"]
        sets = {**found["sets"], "external": {**found["sets"]["validation"], "n": 77}}
        return {**found, "sets": sets, "judged": headline_set(dict.fromkeys(sets, 9))}

    changed(edit, with_external)
    folder = changed("modelling/models.json", lambda c: {**c, "names": [*c["names"], "ResNet"], "main": "combined"})
    results = load_results(folder)
    assert main_model(results) == "combined"
    assert judged_set(results)[0] == "external"
    counted = {"training": 30, "nested": 30, "external": 0, "validation": 12}
    assert headline_set(counted) == "validation"
    assert headline_set(counted | {"external": 1}) == "external"
    assert headline_set({"training": 30, "nested": 30}) == "nested"
    assert headline_set({"training": 30}) == "training"
    auc = content["sets"]["validation"]["models"]["combined"]["horizons"][0]["auc"]["value"]
    facts = dict(compose(results).facts)
    assert facts["AUC"].startswith(f"{auc:.3f}")
    assert facts["AUC"].endswith("combined model, external set")


def test_what_validation_says_against_the_main_model_is_said_first_and_in_the_limits(changed: Changed) -> None:
    sentence = "In the validation set the combined model does worse than chance."

    def against(content: dict[str, Any]) -> dict[str, Any]:
        return content | {"verdicts": {"combined": [sentence], "clinical": ["Of the clinical model."]}}

    folder = changed("evaluation/evaluation.json", against)
    first = section(folder, "Summary")[0]
    assert isinstance(first, Callout) and first.text == sentence
    bullets = next(block for block in section(folder, "Limits") if isinstance(block, Bullets))
    assert sentence in bullets.items[:2]


def test_632_stands_beside_the_corrected_estimate(changed: Changed) -> None:
    def more(content: dict[str, Any]) -> dict[str, Any]:
        entry = content["models"]["combined"]["bootstrap"]
        entry |= {"plus_632": 0.6543, "reason": "refits fit their own samples without a fault"}
        entry["corrected"] |= {"low": None, "high": None}
        return content

    blocks = compose(load_results(changed("modelling/validation.json", more))).blocks()
    table = next(block.table for block in blocks if isinstance(block, TableBlock) and block.key == "validation")
    rows = [row.cells for row in table.rows]
    place = next(i for i, cells in enumerate(rows) if cells[0] == "Bootstrap, .632+")
    assert rows[place][1] == "0.654"
    assert "no limits: refits fit" in rows[place - 1][2] and "(" not in rows[place - 1][1]


def test_models_without_an_auc_get_a_whole_sentence(changed: Changed) -> None:
    def constant(content: dict[str, Any]) -> dict[str, Any]:
        for item in content["sets"].values():
            for entry in item["models"].values():
                entry["horizons"][0] |= {"status": "constant", "reason": "every patient has the same risk"}
        return content

    folder = changed("evaluation/evaluation.json", constant)
    bullets = next(block for block in section(folder, "Summary") if isinstance(block, Bullets))
    line = next(item for item in bullets.items if "Discrimination" in item)
    assert "No model has an AUC in the" in line and "every patient has the same risk" in line and ": ." not in line


def test_a_demo_ends_with_what_was_found_and_what_to_do_next(complete: Path) -> None:
    from hepacast.study.demos import told
    from hepacast.study.run import RunResult

    text = told(RunResult(complete, (), (), 60.0))
    assert "Honest validation. With every step repeated inside each fold" in text and "The planted truth." in text
    assert "**" not in text and f"{complete}/report/report.html" in text
    assert max(map(len, text.split("What to do next")[0].splitlines())) <= 110
