"""What a reviewer asks next, as it is written to `modelling/scrutiny.json` and `evaluation/scrutiny.json`.

Other centers, more patients, what the models use; subgroups, a new set's calibration, conformal sets. Of what was left
out, `reason` says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hepacast.core.records import Record
from hepacast.evaluation.conformal import ConformalInfo
from hepacast.evaluation.recalibration import Updating
from hepacast.evaluation.subgroups import Performance, SubgroupRow


@dataclass(frozen=True, kw_only=True)
class CenterRow(Performance):
    """One center, predicted by models of the others."""

    model: str
    center: str


@dataclass(frozen=True)
class Centers(Record):
    """Leave one center out."""

    rows: tuple[CenterRow, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class LearningRow(Record):
    """Mean AUC (of follow-up: C) in held-out folds after training on a share of the others."""

    model: str
    share: float
    n_train: float
    value: float
    sd: float = math.nan
    n_failed: int = 0


@dataclass(frozen=True)
class Learning(Record):
    """The learning curve."""

    rows: tuple[LearningRow, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class ImportanceRow(Record):
    """Loss of AUC (of follow-up: C) in held-out folds when one predictor is shuffled."""

    model: str
    name: str
    loss: float
    sd: float = math.nan


@dataclass(frozen=True)
class Importance(Record):
    """Permutation importance."""

    rows: tuple[ImportanceRow, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class ShapleyRow(Record):
    """Mean absolute Shapley value of a feature or group; `direction`: rho of value and contribution."""

    name: str
    mean_absolute: float
    features: int = 1
    direction: float = math.nan


@dataclass(frozen=True)
class Shapley(Record):
    """Shapley values of the radiomics score."""

    rows: tuple[ShapleyRow, ...] = ()
    reason: str = ""
    patients: int = 0


@dataclass(frozen=True)
class ModelScrutiny(Record):
    """`modelling/scrutiny.json`; `horizon`, of which calibration speaks, is infinite of an outcome without time."""

    horizon: float
    centers: Centers
    learning_curve: Learning
    importance: Importance
    shapley: Shapley


@dataclass(frozen=True)
class Subgroups(Record):
    """The main model in subgroups of the judged set."""

    rows: tuple[SubgroupRow, ...] = ()
    set: str = ""
    reason: str = ""


@dataclass(frozen=True)
class PredictionScrutiny(Record):
    """`evaluation/scrutiny.json`, of the main model; `recalibration` has one entry a set of new patients."""

    model: str
    horizon: float
    subgroups: Subgroups
    conformal: ConformalInfo
    recalibration: tuple[Updating, ...] = field(default=())
