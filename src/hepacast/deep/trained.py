"""A trained network as plain arrays and JSON: to keep, to send in a bundle, to apply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.entries import Entry, require, validated
from hepacast.core.files import atomic_path, to_jsonable
from hepacast.deep.readings import Applied
from hepacast.deep.spec import NetworkSpec
from hepacast.errors import ModelError

SCHEMA = 2
Floats = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """Weights with everything that a prediction needs.

    Parameters
    ----------
    spec
        The network.
    channels
        Channels of the crops.
    weights
        Arrays by name.
    shift
        Log of the ratio of class weights: what the logit is too high by.
    covariates
        Mean and SD of each covariate in training, (p, 2).
    feature_scale
        Mean and SD of each penultimate feature in training, (d, 2).
    bin_edges
        Limits of the intervals of discrete hazards.
    history
        One entry an epoch: losses, learning rate, seconds.
    facts
        Epochs run, best epoch, numbers of patients, parameters.
    """

    spec: NetworkSpec
    channels: int
    weights: Mapping[str, npt.NDArray[Any]]
    shift: float = 0.0
    covariates: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    feature_scale: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    bin_edges: tuple[float, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything but the weights."""
        return {
            "schema": SCHEMA,
            "network": self.spec.model_dump(mode="json"),
            "channels": self.channels,
            "shift": self.shift,
            "covariates": self.covariates.tolist(),
            "feature_scale": self.feature_scale.tolist(),
            "bin_edges": list(self.bin_edges),
            "history": list(self.history),
            "facts": dict(self.facts),
        }

    @classmethod
    def from_parts(cls, entry: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]]) -> TrainedNetwork:
        """From `to_json` and the weights.

        Raises
        ------
        ModelError
            Written by another version, a value is impossible, or the weights are not this network's.
        """
        own = Entry(entry, "network")
        if own.raw("schema") not in (1, SCHEMA):
            raise ModelError("The network was written in another format.", expected=f"1 or {SCHEMA}")
        for name, array in weights.items():
            finite = not np.issubdtype(array.dtype, np.floating) or bool(np.isfinite(array).all())
            require(finite, own.at(name), "finite weights", "NaN or inf")
        network = own.raw("network")
        if own.raw("schema") == 1 and isinstance(network, dict):
            # Blocks of ResNet-50 were no wider outside than inside.
            network = {"expansion": 1} | network
        made = cls(
            spec=validated(NetworkSpec, network, own.at("network")),
            channels=own.whole("channels", low=1),
            weights=dict(weights),
            shift=own.number("shift"),
            covariates=_pairs(own, "covariates"),
            feature_scale=_pairs(own, "feature_scale"),
            bin_edges=own.numbers("bin_edges"),
            history=tuple(own.raw("history")),
            facts=dict(own.raw("facts")),
        )
        made.build()
        return made

    def save(self, path: Path) -> None:
        """One safetensors file with the JSON in its header."""
        from safetensors.numpy import save_file

        text = json.dumps(to_jsonable(self.to_json()), allow_nan=False)
        with atomic_path(path) as temporary:
            save_file(
                {name: np.asarray(value, order="C") for name, value in self.weights.items()},
                temporary,
                {"hepacast": text},
            )

    @classmethod
    def load(cls, path: Path) -> TrainedNetwork:
        """From `save`.

        Raises
        ------
        ModelError
            The file is damaged or is not one of ours.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                entry = json.loads((file.metadata() or {})["hepacast"])
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ModelError(
                "The file of a network cannot be read.", found=str(error), where=str(path), remedy="train it again"
            ) from error
        return cls.from_parts(entry, weights)

    def build(self, device: str = "cpu") -> Any:
        """The PyTorch network, ready to predict.

        Raises
        ------
        ModelError
            The weights do not fit the network.
        """
        import torch

        from hepacast.deep.networks import MultiTaskNet

        network = MultiTaskNet(self.spec, self.channels, len(self.covariates))
        state = {name: torch.from_numpy(np.array(value)) for name, value in self.weights.items()}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ModelError("The weights do not fit the network.", found=str(error).splitlines()[0]) from error
        return network.to(device).eval()

    def apply(
        self,
        crops: Any,
        covariates: Floats | None = None,
        *,
        rows: npt.NDArray[np.int64] | None = None,
        batch: int = 8,
        device: str | None = None,
    ) -> Applied:
        """Predict patients, a batch at a time.

        Parameters
        ----------
        crops
            (n, channels, z, y, x), an array or a `CropStore`.
        covariates
            (n, p) where the network takes them.
        rows
            Which patients; all when left out.
        device
            ``cpu`` or ``cuda``; where it was trained if left out and there is a GPU, else the CPU.
        """
        from hepacast.deep.inference import apply_network, trained_device

        return apply_network(self, crops, covariates, rows, batch, device or trained_device(self.facts))


def _pairs(entry: Entry, name: str) -> Floats:
    """Mean and SD of each column, (n, 2)."""
    rows = entry.raw(name)
    count = len(rows) if isinstance(rows, list | tuple) else 0
    found = np.array(entry.matrix(name, count, 2), dtype=float).reshape(-1, 2)
    require(bool((found[:, 1] >= 0).all()), entry.at(name), "SDs of 0 or more", "another value")
    return found
