"""What the checks found, and where every number comes from."""

from __future__ import annotations

from hepacast.core.formatting import MISSING, plural
from hepacast.core.tables import make_table
from hepacast.report.content import findings
from hepacast.report.content.common import Omit
from hepacast.report.model import Block, Callout, Details, Paragraph, TableBlock
from hepacast.report.results import Results


def build(results: Results) -> list[Block]:
    """Checks that the run made of itself, and where every number comes from."""
    run = results.run
    if run is None:
        raise Omit("run.json does not exist")
    blocks: list[Block] = findings.build(results.findings)
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
