"""Methods, limits, the run's checks and provenance."""

from __future__ import annotations

from hepacast._version import __version__
from hepacast.core.p_values import p_below
from hepacast.report.content.common import STATEMENT, Omit, is_finite, main_model, validation_of, verdicts
from hepacast.report.content.patients import build_findings, lost_text
from hepacast.report.formatting import MISSING, listing, number, plural
from hepacast.report.inputs import Results, Sentence
from hepacast.report.methods import write_methods
from hepacast.report.model import Block, Bullets, Callout, Details, Paragraph, TableBlock
from hepacast.report.tables import make_table

#: Fewer events than this in a validation set leave its estimates uncertain (Collins 2016, Stat Med 35:214).
_VALIDATION_EVENTS = 100
#: Findings of the cohort stage that say that there are too few patients.
_SIZE_CODES = ("fewer-events-than-variables", "events-per-variable", "sample-too-small")


def build_methods(results: Results) -> list[Block]:
    """What a journal prints of the text that the stages wrote, and its references."""
    if not results.sentences:
        raise Omit("no stage has written its sentences")
    sentences = [sentence for sentence in results.sentences if not sentence.detail]
    more = " More of the methods is in the supplement." if len(sentences) < len(results.sentences) else ""
    return _methods(results, sentences, more)


def build_all_methods(results: Results) -> list[Block]:
    """The whole text, where the main report has not all of it."""
    shortened = any(sentence.detail for sentence in results.sentences)
    return _methods(results, results.sentences, "") if shortened else []


def _methods(results: Results, sentences: list[Sentence], more: str) -> list[Block]:
    text = write_methods(sentences)
    blocks: list[Block] = [Paragraph(f"**{head}.** {body}") for head, body in text.paragraphs]
    blocks.append(
        Paragraph(
            f"The study was run with hepacast {results.run.version if results.run else __version__}. "
            f"This text was written by the stages that ran, from the settings they ran with.{more}"
        )
    )
    if text.references:
        items = tuple(f"{number}. {reference}" for number, reference in enumerate(text.references, start=1))
        blocks.append(Paragraph("**References**"))
        blocks += [Paragraph(item) for item in items]
    return blocks


def build_limits(results: Results) -> list[Block]:
    """What this study cannot say: read off its own numbers."""
    against = verdicts(results, main_model(results)) if results.models is not None else []
    limits = [*against, *_size_limits(results), *_design_limits(results), *_model_limits(results)]
    if results.truth is not None:
        limits.insert(0, "The patients are virtual: nothing here says anything about real patients.")
    limits.append("An association in these patients is not a cause, and the model has not been tested prospectively.")
    return [Callout("warning", "Research use only", STATEMENT), Bullets(tuple(limits))]


def _size_limits(results: Results) -> list[str]:
    found = []
    if results.flow is not None:
        validation = results.flow.sets.get("validation")
        if validation is not None and validation.events is not None:
            few, noun, many = validation.events, "event", "events"
            if validation.n - few < few:
                few, noun, many = validation.n - few, "patient without the event", "patients without the event"
            if few < _VALIDATION_EVENTS:
                found.append(
                    f"The validation set has {plural(few, noun, many)}; with fewer than {_VALIDATION_EVENTS}, its AUC "
                    "and calibration are uncertain, as the width of their intervals shows."
                )
    said = [item.message.rstrip(". ") for item in results.findings if item.code in _SIZE_CODES]
    return [*found, *(f"Sample size: {text}." for text in said)]


def _design_limits(results: Results) -> list[str]:
    found = []
    split = results.study.settings.get("cohort", {}).get("split", {}) if results.study.settings else {}
    if split.get("by") == "random":
        found.append(
            "The validation set is a random part of the same cohort, not another center: it cannot show that the model "
            "travels."
        )
    if results.flow is not None and "validation" not in results.flow.sets:
        found.append(
            "There is no external validation set; the honest numbers are those of nested cross-validation and of the "
            "bootstrap."
        )
    found += patients_limits(results)
    if results.segmentation is not None and results.segmentation.source != "given":
        found.append("The features were measured in masks made by a network; its errors are in them.")
    if results.segmentation is None:
        found.append("The features came as a table: their images, masks and settings were not seen by this run.")
    return found


def patients_limits(results: Results) -> list[str]:
    """Of whom the model does not speak: those left out by the rules, and those lost after inclusion."""
    found = []
    left_out = results.flow.left_out if results.flow is not None else []
    if left_out:
        count, why = sum(item.n for item in left_out), listing([f"{item.reason} in {item.n}" for item in left_out])
        who = plural(count, "patient was", "patients were")
        found.append(f"{who} left out ({why}); the model speaks of the others only.")
    lost = lost_text(results)
    if lost:
        found.append(f"{lost} Such patients are not lost at random: of them the model can say nothing.")
    return found


def _model_limits(results: Results) -> list[str]:
    found = []
    models = results.models
    if models is not None:
        fits = [models.clinical.final if models.clinical else None, models.combined.final if models.combined else None]
        if any(fit is not None and fit.method == "Firth" for fit in fits):
            found.append(
                "A predictor separates the groups (almost) completely; the model was fitted by Firth's method, and its "
                "odds ratios are shrunken."
            )
        if models.clinical is not None:
            found.append(
                f"Clinical predictors were chosen by {p_below(models.clinical.alpha)} in these same patients, as "
                "published studies do. This favors chance findings; the nested numbers account for it, the odds "
                "ratios do not."
            )
    item = validation_of(results, main_model(results)) if models is not None else None
    if item is not None and item.nested is not None and item.usual is not None:
        gap = item.usual.value - item.nested.auc.value
        if is_finite(gap) and gap > 0:
            found.append(
                f"Validated the usual way, the {main_model(results)} model's AUC would have been overstated by "
                f"{number(gap, 3)}."
            )
    shares = results.validation.stability.get("radiomics", []) if results.validation is not None else []
    if shares and models is not None and models.radiomics is not None and models.radiomics.radscore is not None:
        frequency = {item.name: item.frequency for item in shares}
        rare = [t.feature for t in models.radiomics.radscore.terms if frequency.get(t.feature, 0.0) < 0.5]
        if rare:
            found.append(
                f"{len(rare)} of the {len(models.radiomics.radscore.terms)} features of the Radscore were selected in "
                "fewer than half of the refits: another sample would give another signature."
            )
    return found


def build_run(results: Results) -> list[Block]:
    """Checks that the run made of itself, and where every number comes from."""
    run = results.run
    if run is None:
        raise Omit("run.json does not exist")
    blocks: list[Block] = build_findings(results)
    if run.checks:
        failed = [check for check in run.checks if not check.passed]
        if failed:
            text = "; ".join(f"{check.name}: {check.message}" for check in failed)
            blocks.append(Callout("warning", f"{plural(len(failed), 'check')} of this run failed", text))
        checks = [("passed" if check.passed else "FAILED", check.name, check.message) for check in run.checks]
        table = make_table("Checks that the run made of itself", ["Result", "Check", "Found"], checks, words=True)
        blocks.append(TableBlock("checks", table))
    # While a run writes its report the report's own stage is not finished; a report written again is to be the same.
    stages = ", ".join(f"{s.name} {s.key[:12]}" for s in run.stages if s.key and s.name != "report")
    facts = [
        ("hepacast", run.version),
        ("Seed", str(run.seed)),
        ("Python", f"{run.python}, {run.platform}".strip(", ")),
        ("Packages", ", ".join(f"{name} {version}" for name, version in run.packages.items()) or MISSING),
        ("Stages (content hash)", stages or MISSING),
        ("Started", run.started or MISSING),
    ]
    if results.radiomics is not None and results.radiomics.settings_hash:
        facts.append(("Feature settings (SHA-256)", results.radiomics.settings_hash))
    blocks.append(
        Paragraph("The same inputs, settings and versions give the same numbers; the hashes below identify them.")
    )
    provenance = make_table("Provenance of this run", ["What", "Value"], facts, words=True)
    blocks.append(TableBlock("provenance", provenance))
    if run.inputs:
        rows = [(item.path, item.sha256) for item in run.inputs]
        files = make_table("Input files", ["File", "SHA-256"], rows, words=True)
        blocks.append(Details("Input files and their hashes", (TableBlock("inputs", files),)))
    return blocks
