"""A process of its own that reads one file of SPSS or Stata and prints it as JSON; see `hepacast.cohort.spss`.

It imports nothing of hepacast, so that it starts quickly.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import Any

#: Tried in this order: the encoding that the file names, then those of old files that name none.
_ENCODINGS = (None, "GB18030", "WINDOWS-1252")


def main(path: str) -> None:
    """Print columns, labels, missing codes, titles and formats of a file, or what is wrong with it."""
    import pyreadstat

    problem, found = "", None
    for encoding in _ENCODINGS:
        try:
            if path.casefold().endswith(".dta"):
                found = pyreadstat.read_dta(path, encoding=encoding, output_format="dict")
            else:
                found = pyreadstat.read_sav(path, encoding=encoding, user_missing=True, output_format="dict")
            break
        except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, ValueError, ArithmeticError, OSError) as error:
            problem = problem or str(error)
    if found is None:
        sys.stdout.write(json.dumps({"problem": problem}))
        return
    columns, meta = found
    ranges = getattr(meta, "missing_ranges", None) or {}
    content = {
        "columns": {name: [_plain(value) for value in values] for name, values in columns.items()},
        "labels": {name: list(labels.items()) for name, labels in meta.variable_value_labels.items()},
        "missing": {name: [(item["lo"], item["hi"]) for item in items] for name, items in ranges.items()},
        "titles": dict(meta.column_names_to_labels),
        "formats": dict(meta.original_variable_types),
    }
    sys.stdout.buffer.write(json.dumps(content, default=str).encode("utf-8", "surrogatepass"))


def _plain(value: Any) -> Any:
    if value is None or value != value:
        return None
    if hasattr(value, "item"):
        value = value.item()
    return f"\0date:{value.isoformat()}" if isinstance(value, dt.date) else value


if __name__ == "__main__":
    main(sys.argv[1])
