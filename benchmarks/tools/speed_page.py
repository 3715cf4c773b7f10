"""The documentation's page of the engine's speed, from the JSON files that `radiomics.py` writes.

python benchmarks/tools/speed_page.py docs/radiomics-speed.md RESULT.json [WHOLE.json] [PEERS.json]

`WHOLE.json` is what `whole_process.py` writes.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

CASES = {"native": "the scan as it is", "1mm": "a copy resampled to 1 mm"}

INTRODUCTION = """\
# Speed of the feature engine

Made by `benchmarks/radiomics.py`, which runs hepacast and PyRadiomics (`pyradiomics-bhklab` 3.1.4) one after another on
the same machine: {cores} cores, Python {python}. Liver and tumors of the CT `ircadb17`, 1874 features each (recipe
`ptlf`: original, wavelet, LoG, five point filters, gradient, LBP 3D). Seconds are those of one patient without reading
files, memory is the peak above what the process held with the image loaded. With two workers, two patients are measured
at the same time. Look at the ratios: the machine is shared, and its own speed changes by a quarter from hour to hour.

"""


def main() -> None:
    """Write the page."""
    page, files = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    result = json.loads(files[0].read_text(encoding="utf-8"))
    text = INTRODUCTION.format(cores=result["machine"]["cores"], python=result["machine"]["python"])
    text += _cases(result) + _stages(result) + _growth(result)
    for file in files[1:]:
        more = json.loads(file.read_text(encoding="utf-8"))
        text += whole_processes(more) if "1 cores" in more else _peers(more)
    page.write_text(text.rstrip() + "\n", encoding="utf-8")


def _cases(result: dict[str, Any]) -> str:
    rows = ["| | workers | hepacast | memory | PyRadiomics | memory | ratio |", "|---|---|---|---|---|---|---|"]
    for case, words in CASES.items():
        if case not in result:
            continue
        found, voxels = result[case], result[case]["voxels"]
        oracle = found["pyradiomics"]
        for workers in (1, 2):
            ours = found[f"hepacast, {workers} workers"]
            name = f"{words}: liver {voxels['liver']:,} voxels, tumors {voxels['tumor']:,}" if workers == 1 else ""
            rows.append(
                f"| {name} | {workers} | {ours['seconds']:.1f} s | {ours['peak_mb']} MB | {oracle['seconds']:.0f} s "
                f"| {oracle['peak_mb'] / 1000:.1f} GB | **{found[f'ratio, {workers} workers']:.1f}** |"
            )
    once = result["compilation, once"]["seconds"], result["loading compiled code, each process"]["seconds"]
    tail = (
        f"Compilation, once after installation: {once[0]:.0f} s. Loading the compiled code: {once[1]:.1f} s a process."
    )
    return "\n".join(rows) + f"\n\n{tail}\n\n"


def whole_processes(result: dict[str, Any]) -> str:
    """The section on processes from their start to their end."""
    rows = ["| cores | | CPU seconds | wall-clock seconds | peak memory |", "|---|---|---|---|---|"]
    for name in (key for key in result if key.endswith(" cores")):
        for what, label in (("hepacast", "hepacast"), ("pyradiomics", "PyRadiomics")):
            item = result[name][what]
            rows.append(f"| {name[:-6]} | {label} | {item['cpu']:.2f} | {item['wall']:.1f} | {item['mb']:,.0f} MB |")
        ratio = result[name]["ratio"]
        rows.append(f"| {name[:-6]} | ratio | **{ratio['cpu']:.1f}** | {ratio['wall']:.1f} | {ratio['mb']:.1f} |")
    told = (
        "Made by `benchmarks/whole_process.py`: `hepacast extract IMAGE MASK -o TABLE.csv` beside PyRadiomics' own "
        f"command, start and reading of packed NIfTI included; a liver of {result['voxels']:,} voxels, "
        f"{result['values']} features, largest relative difference {result['largest difference']:.1e}. The load "
        f"average was {result['load']:.0f}: CPU seconds count, wall-clock seconds only beside each other."
    )
    return f"## Whole processes\n\n{told}\n\n" + "\n".join(rows) + "\n\n"


def _stages(result: dict[str, Any]) -> str:
    cases = [case for case in CASES if case in result]
    stages = {case: result[case]["hepacast, stages"]["stages"] for case in cases}
    names = sorted(stages[cases[0]], key=lambda name: -stages[cases[0]][name])
    rows = ["## Where the time goes", "", f"| seconds, one core | {' | '.join(CASES[case] for case in cases)} |"]
    rows.append("|---|" + "---|" * len(cases))
    rows += [f"| {name} | {' | '.join(f'{stages[case][name]:.2f}' for case in cases)} |" for name in names]
    return "\n".join(rows) + "\n\n"


def _growth(result: dict[str, Any]) -> str:
    growth = result.get("growth", {})
    if growth.get("status") != "ok":
        return ""
    text = "## How it grows\n\nSeconds of one VOI on one core, all 107 features of the original image or of one type.\n"
    for name, header in (("voxels", "voxels"), ("grey levels", "gray levels"), ("image types", "image type")):
        pairs = growth[name].items()
        text += f"\n| {header} | {' | '.join(f'{int(k):,}' if k.isdigit() else k for k, _ in pairs)} |\n"
        text += "|---|" + "---|" * len(growth[name]) + "\n"
        text += f"| seconds | {' | '.join(f'{seconds:.2f}' for _, seconds in pairs)} |\n"
    return text + "\n"


def _peers(result: dict[str, Any]) -> str:
    peers = result.get("peers, original image, liver")
    if not peers:
        return ""
    rows = [
        "## Other libraries",
        "",
        "The original image's features of the liver, one core, each library in an environment of its own. They follow",
        "other definitions in part (MIRP and Nyxus: IBSI), so this is a comparison of time, not of values. Other work",
        f"ran beside (load average {result['machine']['load']:.1f} at the start).",
        "",
        "| | seconds | memory | features |",
        "|---|---|---|---|",
    ]
    for name, item in peers.items():
        if item["status"] != "ok":
            asked = re.search(r"allocate (\d+) bytes", item["status"])
            status = f"failed: asks for {int(asked[1]) / 1e9:.0f} GB" if asked else item["status"]
            rows.append(f"| {name} | {status} | | |")
            continue
        count = item.get("features")
        count = count.get("liver") if isinstance(count, dict) else count
        rows.append(f"| {name} | {item['seconds']:.2f} | {item['peak_mb']:,} MB | {count} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
