"""`RadiomicsExtractor`: extraction as a scikit-learn transformer, from patients' images to a wide table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from hepacast.core.executor import Progress
from hepacast.errors import ModelError
from hepacast.radiomics.patients import Backend, Case, extract_patients
from hepacast.radiomics.settings import Settings
from hepacast.radiomics.table import to_wide


class RadiomicsExtractor(TransformerMixin, BaseEstimator):
    """Features of every VOI of every patient.

    Nothing is learned from the data: `fit` only reads the settings and notes the columns, so the transformer may
    stand in a pipeline inside cross-validation.

    Parameters
    ----------
    settings
        A named setting, a PyRadiomics parameter file, its content, or `Settings`.
    workers
        Processes.
    backend
        "hepacast" or "pyradiomics".
    cache_dir
        Folder for each image's result.
    progress
        Called with (done, total).

    Attributes
    ----------
    settings_ : Settings
        The settings that were read.
    feature_names_out_ : ndarray of str
        Columns: ``voi:feature`` (``sequence:voi:feature`` where a patient has several sequences).
    table_ : DataFrame
        The long table of the last `transform`, with statuses and reasons.
    """

    def __init__(
        self,
        settings: Settings | str | Path | Mapping[str, Any] = "ptlf",
        *,
        workers: int | None = 1,
        backend: Backend = "hepacast",
        cache_dir: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.settings = settings
        self.workers = workers
        self.backend = backend
        self.cache_dir = cache_dir
        self.progress = progress

    def fit(self, X: Iterable[Case], y: Any = None) -> RadiomicsExtractor:
        """Read the settings and note the columns of the first patient's VOIs."""
        cases = list(X)
        if not cases:
            raise ModelError("There is no patient to extract features of.")
        self.settings_ = Settings.load(self.settings)
        names = self.settings_.feature_names()
        sequences = list(cases[0].images)
        columns = []
        for sequence in sequences:
            prefix = f"{sequence}:" if len(sequences) > 1 else ""
            columns += [f"{prefix}{voi}:{name}" for voi in cases[0].vois_of(sequence) for name in names]
        self.feature_names_out_ = np.array(columns, dtype=object)
        return self

    def transform(self, X: Iterable[Case]) -> pd.DataFrame:
        """One row a patient, NaN where a feature has no value."""
        if not hasattr(self, "settings_"):
            raise ModelError("The extractor was not fitted.", remedy="call fit first")
        self.table_ = extract_patients(
            X,
            self.settings_,
            workers=self.workers,
            progress=self.progress,
            cache_dir=self.cache_dir,
            backend=self.backend,
        )
        return to_wide(self.table_).reindex(columns=list(self.feature_names_out_))

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """The columns of the table."""
        return self.feature_names_out_
