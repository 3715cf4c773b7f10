"""Print the oldest versions that ``pyproject.toml`` allows, as a constraints file for pip.

Usage: ``python .ci/oldest.py [EXTRA ...] > oldest.txt``. A bound without a wheel for Python 3.11 is raised where it is
declared, not here.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def oldest(extras: tuple[str, ...] = ()) -> list[str]:
    """``name==lower bound`` of each requirement, required ones first, then those of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"]]
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    lines = []
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9._-]+)\s*(?:>=|==)\s*([0-9.]+)", requirement)
        if match:
            lines.append(f"{match[1]}=={match[2]}")
    return sorted(set(lines), key=str.lower)


if __name__ == "__main__":
    sys.stdout.write("\n".join(oldest(tuple(sys.argv[1:]))) + "\n")
