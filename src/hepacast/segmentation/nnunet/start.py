"""Begin a training with the weights of another nnU-Net: another task's or another center's.

nnU-Net's own way (its ``-pretrained_weights``): the plan of the source is kept, so that voxel size, patch and layers
fit, and every weight is taken over but those of the segmentation heads. Beyond it, heads are kept where the structures
are the same, and the first convolution is spread over another number of input channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.core.hashing import hash_file
from hepacast.errors import ModelError, StudyFileError
from hepacast.segmentation.nnunet.checkpoints import load_checkpoint, plain_weights
from hepacast.segmentation.nnunet.model import SEQUENCES, require_known_parts
from hepacast.segmentation.nnunet.plan import CASCADE, NnunetPlan, Start

#: Part of the names of the layers that give the classes' logits.
_HEADS = ".seg_layers."


def read_start(file: str | Path, sha256: str, plan: NnunetPlan) -> Start:
    """Check a checkpoint that a training shall begin with.

    Parameters
    ----------
    file
        A ``.pth`` of nnU-Net v2; only tensors and plain values are read from it.
    sha256
        Of the file, so that it is the one that was meant.
    plan
        What is to be trained.

    Raises
    ------
    ModelError
        The file is missing, is another one, or is no such checkpoint.
    StudyFileError
        It is of another configuration, or a cascade's second stage.
    """
    source = _checked(file, sha256)["init_args"]
    if tuple(plan.configurations) != (source["configuration"],) or CASCADE in plan.configurations:
        raise StudyFileError(
            "A training that begins with another model's weights trains that model's configuration.",
            expected=f"configurations: [{source['configuration']}] (a cascade's second stage cannot be begun with)",
            found=", ".join(plan.configurations),
            where="segmentation.nnunet.configurations",
        )
    dataset = source["dataset_json"]
    ours = {"background": 0, **plan.labels}
    inputs, names = _inputs(dataset), dataset.get(SEQUENCES)
    alike = inputs == list(plan.channels.values())
    if len(inputs) > 1 and names:
        alike = alike and [names[key] for key in sorted(names, key=int)] == list(plan.channels)
    return Start(
        sha256=sha256.lower(),
        dataset=str(source["plans"].get("dataset_name", "an unnamed dataset")),
        configuration=str(source["configuration"]),
        same_classes=dict(dataset["labels"]) == ours and not dataset.get("regions_class_order"),
        same_inputs=alike,
        source_channels=None if len(inputs) == len(plan.channels) else len(inputs),
        file=str(Path(file).resolve()),
    )


def _checked(file: str | Path, sha256: str) -> dict[str, Any]:
    if Path(file).is_file() and hash_file(Path(file)) != sha256.lower():
        raise ModelError(
            "The checkpoint to begin with is another file than the one that was named.",
            expected=f"SHA-256 {sha256}",
            found=f"SHA-256 {hash_file(Path(file))}",
            where=str(file),
            remedy="get the right file, or write this one's SHA-256 into the study file if it is the right one",
        )
    checkpoint = load_checkpoint(file)
    source = checkpoint.get("init_args") or {}
    if not {"plans", "configuration", "dataset_json"} <= set(source):
        raise ModelError(
            "This checkpoint does not say what it was trained on.",
            expected="init_args with plans, configuration and dataset_json, as nnU-Net v2 writes them",
            where=str(file),
        )
    require_known_parts(source["plans"], str(file))
    return checkpoint


def _inputs(dataset: dict[str, Any]) -> list[str]:
    """Modality (CT, else MR) of each input of a checkpoint."""
    kinds = dataset.get("channel_names") or dataset["modality"]
    return ["CT" if str(kinds[key]).casefold() == "ct" else "MR" for key in sorted(kinds, key=int)]


def adopt_plan(plans: dict[str, Any], start: Start) -> None:
    """Put the source's voxel size, patch and network into our plans, in place.

    Where the inputs are the same, its intensity scale is kept, too: HU mean to the network what they meant.

    Raises
    ------
    ModelError
        The file is not the one that was checked.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    theirs = _checked(start.file, start.sha256)["init_args"]["plans"]
    name = start.configuration
    ours = plans["configurations"].get(name, {})
    adopted = dict(PlansManager(theirs).get_configuration(name).configuration)
    own = ["data_identifier", "median_image_size_in_voxels"]
    if not start.same_inputs:
        own += ["normalization_schemes", "use_mask_for_norm"]
    else:
        plans["foreground_intensity_properties_per_channel"] = theirs["foreground_intensity_properties_per_channel"]
    adopted |= {key: ours[key] for key in own if key in ours}
    plans["configurations"][name] = adopted
    for key in ("transpose_forward", "transpose_backward"):
        plans[key] = theirs[key]


def load_start(network: Any, start: Start) -> None:
    """Take the source's weights over into a network of its architecture.

    Raises
    ------
    ModelError
        A weight other than the heads' and the first convolution's has another shape, or is missing.
    """
    source = plain_weights(_checked(start.file, start.sha256)["network_weights"])
    own = network.state_dict()
    taken = {}
    for key, value in own.items():
        if _HEADS in f".{key}" and not start.same_classes:
            continue
        given = source.get(key)
        if given is not None and given.shape != value.shape:
            given = _spread(given, value, start)
        if given is None:
            raise ModelError(
                "The checkpoint to begin with does not fit the network.",
                expected=f"{key}: {list(value.shape)}",
                found=str(list(source[key].shape)) if key in source else "no such weight",
                where=start.file,
                remedy="begin with a model of the same kind of network",
            )
        taken[key] = given
    network.load_state_dict({**own, **taken})


def _spread(given: Any, value: Any, start: Start) -> Any:
    """The kernels of the first convolution, their mean over the source's channels for each of ours; else None."""
    same = given.dim() == value.dim() > 2 and given.shape[0] == value.shape[0] and given.shape[2:] == value.shape[2:]
    if not same or start.source_channels != given.shape[1]:
        return None
    return given.mean(dim=1, keepdim=True).expand_as(value).contiguous()
