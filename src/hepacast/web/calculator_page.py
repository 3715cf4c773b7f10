"""`hepacast page`: a bundle's live nomogram as one file that asks no server and no network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from hepacast._version import __version__
from hepacast.bundle.applying import open_bundle
from hepacast.bundle.calculator import calculator_of
from hepacast.bundle.model import Bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.core.files import write_text
from hepacast.web.messages import languages, messages

_HOME = Path(__file__).parent
#: Modules of the page, each after those that it imports from; in one script their imports are not needed.
_MODULES = ("model.js", "nomogram.js", "calculator.js")
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)
#: The language of a page before its script has run.
_FIRST = "en"


def write_calculator(bundle: str | Path | Bundle | NetworkBundle, path: str | Path) -> Path:
    """Write the page of a bundle's nomogram.

    Parameters
    ----------
    bundle
        ``model.hepacast`` with a logistic model, a Cox model or one of competing risks.
    path
        HTML file to write.

    Raises
    ------
    BundleError
        The file is no bundle, or its main model has no nomogram.
    StorageError
        The page cannot be written.
    """
    text = calculator_html(calculator_of(open_bundle(bundle)))
    write_text(path, text)
    return Path(path)


def calculator_html(description: dict[str, Any]) -> str:
    """The page of a description; the policy in it lets nothing run or load but the page's own script and style."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    script = "".join(_IMPORT.sub("", _static(name)) for name in _MODULES) + "startPage();\n"
    style = _static("nomogram.css") + _static("calculator.css")
    about = description["about"]
    words = {name: {key: messages(name)[key] for key in ("language", "calculator")} for name in languages()}
    environment = Environment(loader=FileSystemLoader(_HOME / "templates"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("calculator.html.j2").render(
        policy="; ".join((
            "default-src 'none'", f"script-src {_source(script)}", f"style-src {_source(style)}",
            "base-uri 'none'", "form-action 'none'",
        )),
        version=__version__,
        title=about["outcome"]["name"],
        outcome=about["outcome"]["name"],
        study=about["study"],
        words=words[_FIRST]["calculator"],
        style=Markup(style),
        description=_json(description),
        messages=_json(words),
        script=Markup(script),
    )  # fmt: skip


def _static(name: str) -> str:
    return (_HOME / "static" / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """How a policy names an inline script or style: by its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _json(value: Any) -> Any:
    """JSON inside a script element, which no text of a study can end."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
