"""The final models of a fusion on disk, as the bundle takes them: JSON, arrays of classifiers, weights of networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.bundle.image_networks import ImageNetworks
from hepacast.core.files import read_json, write_json
from hepacast.deep import CropSpec, TrainedNetwork
from hepacast.errors import ModelError
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import learned_by_networks
from hepacast.modelling.fusion import ViewResult
from hepacast.study.context import Context
from hepacast.study.stages.frozen_files import CLASSIFIERS, MODELS, NETWORKS, write_arrays
from hepacast.study.stages.fusion_networks import NetworkScores


def write_frozen(
    context: Context, folder: Path, final: ViewResult, networks: NetworkScores | None, best: str | None
) -> None:
    """Write ``frozen.json`` and what belongs to it; where there is no array form, the reason.

    Parameters
    ----------
    networks, best
        All networks, and the name of the one that gives the final models their score and features.
    """
    try:
        models = final.freeze()
    except ModelError as error:
        write_json(folder / MODELS, {"unavailable": str(error)})
        return
    entry: dict[str, Any] = models.to_dict() | {"networks": None}
    if networks is not None and best is not None and any(map(learned_by_networks, models.measured())):
        kept = list(networks.networks[best].values())
        (folder / NETWORKS).mkdir()
        for number, network in enumerate(kept):
            network.save(folder / NETWORKS / f"network-{number}.safetensors")
        entry["networks"] = {
            "name": best,
            "count": len(kept),
            "crop": _crop(context).model_dump(mode="json"),
            "seen": networks.seen,
        }
    write_arrays(folder, models)
    write_json(folder / MODELS, entry)


def _crop(context: Context) -> CropSpec:
    """The crop with its channels named: the study's sequences in their order."""
    assert context.study.fusion is not None
    crop = context.study.fusion.deep.crop
    return crop if crop.channels else crop.model_copy(update={"channels": list(context.images.sequences)})


def read_fusion(folder: Path) -> tuple[FrozenModels, ImageNetworks | None]:
    """The final models as `write_frozen` wrote them, and the networks that they read."""
    from safetensors.numpy import load_file

    entry = read_json(folder / MODELS)
    arrays = folder / CLASSIFIERS
    models = FrozenModels.from_dict(entry, load_file(arrays) if arrays.is_file() else None)
    used = entry["networks"]
    if used is None:
        return models, None
    files = [folder / NETWORKS / f"network-{number}.safetensors" for number in range(used["count"])]
    trained = tuple(TrainedNetwork.load(file) for file in files)
    return models, ImageNetworks(used["name"], CropSpec.model_validate(used["crop"]), trained, used["seen"])
