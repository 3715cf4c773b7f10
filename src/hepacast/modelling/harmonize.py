"""Harmonization of sites inside the chain: fitted on training rows, with a stated answer to a site never seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.errors import ModelError
from hepacast.modelling.base import Step, listed, numbers_of
from hepacast.modelling.combat import Prior, fit_combat

UnseenSite = Literal["refuse", "pooled", "reference"]


class Harmonizer(Step):
    """ComBat as a step of the chain. Takes the site from a column, which it consumes.

    Parameters
    ----------
    site_column
        Column that names each row's site.
    unseen
        A site without training rows: ``"refuse"`` (error naming it), ``"pooled"`` (values are left as they are: the
        training sites' mean shift is none) or ``"reference"`` (corrected as rows of `reference` are).
    reference
        Site to whose location and scale the others are brought (sva's ``ref.batch``).
    covariates
        Columns whose effect on the features is kept; numeric, and consumed as well. Never the outcome.
    prior, mean_only
        As in `fit_combat`.

    Attributes
    ----------
    combat_
        The fitted `ComBat`; None with a single training site, when nothing is changed.
    note_
        What was not done as asked, and why.
    """

    def __init__(
        self,
        site_column: str = "center",
        unseen: UnseenSite = "refuse",
        reference: str | None = None,
        covariates: Sequence[str] = (),
        prior: Prior = "parametric",
        mean_only: bool = False,
    ) -> None:
        self.site_column = site_column
        self.unseen = unseen
        self.reference = reference
        self.covariates = covariates
        self.prior = prior
        self.mean_only = mean_only

    def _fit(self, frame: pd.DataFrame, y: ArrayLike | None) -> None:
        if self.unseen not in ("refuse", "pooled", "reference"):
            raise ModelError(
                "Unknown answer to an unseen site.", expected="refuse, pooled or reference", found=str(self.unseen)
            )
        if self.unseen == "reference" and self.reference is None:
            raise ModelError("The answer 'reference' to an unseen site needs a reference site.")
        features, covariates, site = self._parts(frame)
        self.features_ = [str(name) for name in features.columns]
        counts = pd.Series(site).value_counts()
        self.note_ = ""
        if len(counts) == 1:
            self.combat_ = None
            self.sites_: tuple[str, ...] = (str(counts.index[0]),)
            self.note_ = f"one training site ({self.sites_[0]}): nothing to harmonize"
            return
        single = [str(name) for name, count in counts.items() if count == 1]
        if single and not self.mean_only:
            self.note_ = f"one training patient from {listed(single)}: location only, as in sva"
        self.combat_ = fit_combat(
            numbers_of(features),
            site,
            covariates,
            prior=self.prior,
            mean_only=self.mean_only,
            reference=self.reference,
        )
        self.sites_ = self.combat_.sites

    def _parts(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, NDArray[np.object_]]:
        needed = [self.site_column, *self.covariates]
        absent = [name for name in needed if name not in frame.columns]
        if absent:
            raise ModelError(
                "The harmonization's columns are missing.", expected=listed(needed), found=f"no {listed(absent)}"
            )
        site = frame[self.site_column]
        if site.isna().any():
            raise ModelError(
                "The site of some patients is missing.",
                found=listed(frame.index[site.isna()]),
                remedy="state the site of every patient, or switch the harmonization off",
            )
        return frame.drop(columns=needed), numbers_of(frame[list(self.covariates)]), site.astype(str).to_numpy(object)

    def _transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        features, covariates, site = self._parts(frame)
        number = self.site_numbers(site)
        if self.combat_ is None:
            return features
        values = self.combat_.apply(numbers_of(features), number, covariates)
        return pd.DataFrame(values, index=frame.index, columns=features.columns)

    def site_numbers(self, site: NDArray[np.object_]) -> NDArray[np.int64]:
        """Number of each row's site among the training sites; -1 for a site whose values are left as they are."""
        numbers = {name: index for index, name in enumerate(self.sites_)}
        unknown = sorted({str(name) for name in site} - set(numbers))
        if unknown and self.unseen == "refuse":
            raise ModelError(
                "The model was not trained on patients of this site.",
                expected=listed(self.sites_),
                found=listed(unknown),
                remedy="set the answer to an unseen site to 'pooled' or 'reference', or train with this site",
            )
        other = -1 if self.unseen != "reference" or self.reference is None else numbers.get(self.reference, -1)
        return np.array([numbers.get(str(name), other) for name in site], dtype=np.int64)

    def describe(self) -> str:
        """Name of the harmonization."""
        return f"ComBat over {self.site_column}"

    def _names_out(self) -> list[str]:
        return self.features_
