"""Networks inside a bundle of joined models: their score and their learned features of one patient's image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.entries import Entry, ranges, require, validated
from hepacast.deep import CropSpec, TrainedNetwork, crop_geometry, crop_mask, crop_patient
from hepacast.deep.domain import crop_facts, outside
from hepacast.deep.readings import mean_readings
from hepacast.errors import BundleError
from hepacast.imaging import Volume
from hepacast.imaging.voi import VoiExpression
from hepacast.modelling.frozen_score import DEEP_PREFIX, DL_SCORE

DOCUMENT = "image-networks"


def cut_warning(crop: CropSpec, voi: Volume) -> list[str]:
    """Says so where the crop does not hold the whole VOI."""
    if crop.size_mm is None:
        return []
    places = np.argwhere(voi.array)
    lengths = (places.max(axis=0) - places.min(axis=0) + 1) * np.array(voi.spacing[::-1])
    wide = bool((lengths > np.array(crop.size_mm)).any())
    return [f"{crop.voi} is longer than the crop: the networks see a part of it"] if wide else []


@dataclass(frozen=True, eq=False)
class ImageNetworks:
    """Networks of one kind, of several trainings; a new patient gets the mean of all.

    Parameters
    ----------
    name
        As in the study's comparison: ``ResNet-18 3D``.
    crop
        How the crop is made; its `channels` are the sequences.
    networks
        The trainings.
    seen
        Smallest and largest value of what `crop_facts` measures in the training patients' crops.
    """

    name: str
    crop: CropSpec
    networks: tuple[TrainedNetwork, ...]
    seen: Mapping[str, Any] = field(default_factory=dict)

    def columns(
        self, images: Mapping[str, Volume], masks: Mapping[str, Volume], modalities: Mapping[str, str]
    ) -> dict[str, float]:
        """The networks' score and features of one patient, by column name of the models.

        Parameters
        ----------
        images
            By sequence, all of the crop's channels.
        masks
            Structures by name; the crop is centered on one of them, or on what algebra makes of them.
        modalities
            ``CT`` or ``MR`` by sequence.

        Raises
        ------
        ImageError
            The structure to center on is missing or empty, or a sequence is missing.
        """
        crop = self._crop(images, masks, modalities)[0]
        row = mean_readings(self.networks, crop[None], ["patient"]).iloc[0]
        return {DL_SCORE: float(row["log odds"])} | {
            str(name): float(value) for name, value in row.items() if str(name).startswith(DEEP_PREFIX)
        }

    def warnings(
        self, images: Mapping[str, Volume], masks: Mapping[str, Volume], modalities: Mapping[str, str]
    ) -> list[str]:
        """Says where the crop does not hold the whole VOI, or is unlike those of the training patients."""
        crop, voi = self._crop(images, masks, modalities)
        grid = crop_geometry(voi, self.crop)
        facts = crop_facts(crop, crop_mask(voi, grid), grid.spacing, self.crop, self.crop.voi, modalities)
        return [*outside(facts, self.seen), *cut_warning(self.crop, voi)]

    def _crop(
        self, images: Mapping[str, Volume], masks: Mapping[str, Volume], modalities: Mapping[str, str]
    ) -> tuple[npt.NDArray[np.float32], Volume]:
        """The crop and the VOI on which it is centered."""
        voi = VoiExpression.parse(self.crop.voi).evaluate(masks)
        return crop_patient(images, {**masks, self.crop.voi: voi}, self.crop, modalities=modalities), voi

    def document(self) -> dict[str, Any]:
        """JSON document without the weights. Of times, the bundle would not be the same twice."""
        return {
            "name": self.name,
            "crop": self.crop.model_dump(mode="json"),
            "seen": {name: list(limits) for name, limits in sorted(self.seen.items())},
            "networks": [network.to_json() | {"history": [], "facts": {}} for network in self.networks],
        }

    def tensors(self) -> dict[str, Mapping[str, npt.NDArray[Any]]]:
        """Weights by name of the file in the bundle."""
        return {f"network-{number}": network.weights for number, network in enumerate(self.networks)}

    @classmethod
    def from_parts(
        cls, document: Mapping[str, Any], tensors: Mapping[str, Mapping[str, npt.NDArray[Any]]]
    ) -> ImageNetworks:
        """The inverse of `document` and `tensors`; every network is built once.

        Raises
        ------
        BundleError
            The weights of a network are missing.
        ModelError
            A value is not of its kind, or the weights are not the network's.
        """
        own = Entry(document, DOCUMENT)
        parts = own.entries("networks")
        require(bool(parts), own.at("networks"), "at least one network", "none")
        missing = [f"network-{n}" for n in range(len(parts)) if f"network-{n}" not in tensors]
        if missing:
            raise BundleError("The bundle is not complete.", found=f"no {', '.join(missing)}")
        networks = tuple(
            TrainedNetwork.from_parts(entry, tensors[f"network-{number}"])
            for number, entry in enumerate(own.raw("networks"))
        )
        crop = validated(CropSpec, own.raw("crop"), own.at("crop"))
        seen = ranges(own.entry("seen")) if "seen" in own else {}
        return cls(own.text("name"), crop, networks, seen)
