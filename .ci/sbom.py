"""List every component with version and license: CycloneDX, and the notices as one text.

Usage: ``python .ci/sbom.py CYCLONEDX_PY PYTHON OUT``: the command `cyclonedx-py` looks at the environment of PYTHON, in
which the wheel is installed with what it needs; what the wheel holds of others (``.ci/components.json``) is added.
Writes ``OUT/sbom.cdx.json`` and ``OUT/NOTICES.txt``.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_CLASSIFIER = "License :: OSI Approved :: "
_LICENSE = re.compile(r"(LICEN[SC]E|COPYING|NOTICE|AUTHORS|COPYRIGHT)", re.IGNORECASE)


def main(cyclonedx: str, python: str, out: Path) -> None:
    """Ask, add, write."""
    out.mkdir(parents=True, exist_ok=True)
    words = ["--pyproject", str(HERE.parent / "pyproject.toml"), "--mc-type", "application"]
    command = [cyclonedx, "environment", *words, "--short-PURLs", "--output-reproducible", "-o", "-", python]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout)
    # The wheel itself is what the list is about, and not a component of itself; pip only installs.
    parts = [item for item in told["components"] if item["name"] not in ("hepacast", "pip", "setuptools")]
    more = json.loads((HERE / "components.json").read_text(encoding="utf-8"))
    told["components"] = [*(_without_places(item) for item in parts), *more]
    known = {told["metadata"]["component"]["bom-ref"], *(item["bom-ref"] for item in told["components"])}
    for entry in (entries := [item for item in told["dependencies"] if item["ref"] in known]):
        entry["dependsOn"] = sorted(ref for ref in entry.get("dependsOn", []) if ref in known)
    told["dependencies"] = [*entries, *({"ref": item["bom-ref"]} for item in more)]
    (out / "sbom.cdx.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    texts = _license_texts(python)
    (out / "NOTICES.txt").write_text(_notices(told["components"], texts), encoding="utf-8")
    lacking = [item["name"] for item in told["components"] if not licenses_of(item)]
    if lacking:
        sys.exit(f"no license is told of {', '.join(lacking)}")
    silent = [item["name"] for item in parts if not texts.get(_plain(item["name"]))]
    print(f"{len(told['components'])} components; without the text of their license: {', '.join(silent)}")  # noqa: T201


def _without_places(item: dict[str, Any]) -> dict[str, Any]:
    """A component without where it was fetched from or lies on this computer."""
    return {name: value for name, value in item.items() if name not in ("externalReferences", "properties")}


def licenses_of(item: dict[str, Any]) -> list[str]:
    """Names of a component's licenses: of its metadata, or of its license files."""
    entries = item.get("licenses", [])
    names = [e.get("expression") or e["license"].get("id") or e["license"].get("name", "") for e in entries]
    # What "declares a license" without a name stands beside one with a name.
    return sorted({name for name in names if name and not name.startswith("declared license")})


def _notices(components: list[dict[str, Any]], texts: dict[str, list[str]]) -> str:
    lines = ["What is installed with hepacast, and the license of each. Made by `make sbom`.\n"]
    for item in sorted(components, key=lambda entry: entry["name"].casefold()):
        named = "; ".join(name.removeprefix(_CLASSIFIER) for name in licenses_of(item)) or "see below"
        lines.append(f"{'=' * 100}\n{item['name']} {item.get('version', '')}: {named}\n")
        lines += [f"{text.strip()}\n" for text in texts.get(_plain(item["name"]), [])]
    lines.append(f"{'=' * 100}\nhepacast and what its wheel holds\n")
    return "\n".join([*lines, *texts["hepacast"]])


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).casefold()


def _license_texts(python: str) -> dict[str, list[str]]:
    """Texts of licenses and notices by package, as they lie beside what is installed."""
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    place = Path(subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip())
    found: dict[str, list[str]] = {}
    for folder in place.glob("*.dist-info"):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _LICENSE.match(path.name)]
        files += [path for path in sorted((folder / "licenses").rglob("*")) if path.is_file() and path not in files]
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
        found[_plain(folder.name.split("-")[0])] = list(dict.fromkeys(texts))
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
