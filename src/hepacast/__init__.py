"""hepacast: from a cohort of liver-cancer patients to a validated, portable risk model.

Research use only: hepacast is not a medical device and must not be used alone to decide on treatment.
Importing this package does nothing but define names: no network, no environment variable, no logging.

``import hepacast as hc``: each function of this module takes paths, data frames, arrays or what another one has
returned, and gives the numbers of the command of the same name; what it returns shows itself in a notebook and has
``.text()``, ``.to_frame()`` and ``.plot()``. The code behind a name is loaded when the name is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hepacast._version import __version__

if TYPE_CHECKING:
    import inspect

    from hepacast.bundle.applying import open_bundle as load_model
    from hepacast.errors import HepacastError as HepacastError
    from hepacast.imaging.io import read_mask as read_mask
    from hepacast.imaging.io import read_volume as read_image
    from hepacast.imaging.volume import Volume as Volume
    from hepacast.radiomics.explanation import explain as explain
    from hepacast.study.biomarkers import biomarkers as biomarkers
    from hepacast.study.check import check_study as check
    from hepacast.study.cohort_of import cohort_of as read_cohort
    from hepacast.study.demos import run_demo_of as demo
    from hepacast.study.extract import extract as extract
    from hepacast.study.noise import run_noise as noise
    from hepacast.study.predict import predict_patient as predict
    from hepacast.study.predict_table import predict_table as predict_table
    from hepacast.study.run import read_results as read_results
    from hepacast.study.run import rebuild_report as report
    from hepacast.study.run import run_study as run
    from hepacast.study.segment import segment as segment
    from hepacast.study.statistics.calculators import score as score
    from hepacast.study.statistics.describing import describe as describe
    from hepacast.study.statistics.evaluating import evaluate as evaluate
    from hepacast.study.statistics.follow_up import survival as survival
    from hepacast.study.statistics.nomograms import nomogram as nomogram
    from hepacast.study.statistics.raters import agreement as agreement
    from hepacast.study.statistics.regression import logistic as logistic
    from hepacast.study.statistics.sizes import samplesize as sample_size

#: Public name -> module and name there, as the imports above say it.
_PUBLIC = {
    # a study
    "read_cohort": "study.cohort_of:cohort_of",
    "check": "study.check:check_study",
    "run": "study.run:run_study",
    "read_results": "study.run:read_results",
    "report": "study.run:rebuild_report",
    "noise": "study.noise:run_noise",
    "demo": "study.demos:run_demo_of",
    # images
    "read_image": "imaging.io:read_volume",
    "read_mask": "imaging.io:read_mask",
    "segment": "study.segment:segment",
    "extract": "study.extract:extract",
    "biomarkers": "study.biomarkers:biomarkers",
    "explain": "radiomics.explanation:explain",
    # a model
    "load_model": "bundle.applying:open_bundle",
    "predict": "study.predict:predict_patient",
    "predict_table": "study.predict_table:predict_table",
    # a table
    "describe": "study.statistics.describing:describe",
    "logistic": "study.statistics.regression:logistic",
    "survival": "study.statistics.follow_up:survival",
    "nomogram": "study.statistics.nomograms:nomogram",
    "evaluate": "study.statistics.evaluating:evaluate",
    "agreement": "study.statistics.raters:agreement",
    "sample_size": "study.statistics.sizes:samplesize",
    "score": "study.statistics.calculators:score",
    # types
    "Volume": "imaging.volume:Volume",
    "HepacastError": "errors:HepacastError",
}

__all__ = [
    "__version__",
    "read_cohort",
    "check",
    "run",
    "read_results",
    "report",
    "noise",
    "demo",
    "read_image",
    "read_mask",
    "segment",
    "extract",
    "biomarkers",
    "explain",
    "load_model",
    "predict",
    "predict_table",
    "describe",
    "logistic",
    "survival",
    "nomogram",
    "evaluate",
    "agreement",
    "sample_size",
    "score",
    "Volume",
    "HepacastError",
]


def _load(name: str) -> Any:
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return _load(name)
    from difflib import get_close_matches

    near = get_close_matches(name, _PUBLIC, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(_PUBLIC)}" if name[0] != "_" else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _CallableRoom(ModuleType):
    """A room that has the name of a function: `hepacast.nomogram` is the package, and can be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _load(self.__name__.rpartition(".")[2])(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        import inspect

        return inspect.signature(_load(self.__name__.rpartition(".")[2]))


class _Package(ModuleType):
    """Makes rooms callable that have the name of a function, whoever imports them first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PUBLIC and isinstance(value, ModuleType):
            value.__class__ = _CallableRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
