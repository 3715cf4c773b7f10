"""Weights to start from: a file of the user with its checksum. Nothing is fetched here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepacast.core.hashing import hash_file
from hepacast.errors import ModelError

if TYPE_CHECKING:
    from hepacast.deep.networks import MultiTaskNet

#: What may stand before the names of an encoder's weights.
_PREFIXES = ("encoder.", "module.encoder.", "module.", "")
#: Layers of a block: our place in its body, and its name in published files (torchvision, MedicalNet, MONAI).
_BLOCK = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "6": "conv3", "7": "bn3"}


def load_pretrained(network: MultiTaskNet, path: Path, sha256: str) -> list[str]:
    """Take over every encoder weight of a file that has the name and the shape of one of ours.

    Parameters
    ----------
    network
        Its encoder is changed in place.
    path
        A safetensors file or a PyTorch file of weights alone: a network that hepacast trained, or a published ResNet
        under the names of torchvision, MedicalNet and MONAI (``layer1.0.conv1.weight``); or the HDF5 file of the
        built-in liver network, for the encoder ``liver-cnn``. A first layer of one channel is spread over the channels
        of ours.
    sha256
        Of the file.

    Returns
    -------
    list of str
        Names of the weights that were taken over.

    Raises
    ------
    ModelError
        The file is missing, is another one than the checksum says, or nothing of it fits.
    """
    if not path.is_file():
        raise ModelError(
            "The file of pretrained weights does not exist.", where=str(path), remedy="it is never fetched by itself"
        )
    found = hash_file(path)
    if found != sha256.lower():
        raise ModelError(
            "The pretrained weights are not the ones that were meant.",
            expected=f"SHA-256 {sha256}",
            found=found,
            where=str(path),
        )
    if path.suffix in (".hdf5", ".h5"):
        taken = _from_hdf5(network, path)
    else:
        taken = _take(network, _tensors(path))
    # Norms' counters fit anything; a network is taken over by its kernels.
    if not any(name.startswith("conv3d_") or network.encoder.state_dict()[name].ndim == 5 for name in taken):
        raise ModelError(
            "Nothing of the pretrained weights fits the network.",
            expected="an encoder of the same kind, width and number of channels",
            where=str(path),
        )
    return taken


def _tensors(path: Path) -> dict[str, Any]:
    """All arrays of a file by name. Nothing in it is executed."""
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix not in (".pt", ".pth", ".tar"):
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ModelError(
            "The pretrained weights cannot be read.",
            expected="a safetensors file, or a PyTorch file of weights alone",
            found=str(error).splitlines()[0],
            where=str(path),
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}


def _take(network: MultiTaskNet, there: dict[str, Any]) -> list[str]:
    import torch

    own = network.encoder.state_dict()
    taken = []
    for name, value in own.items():
        names = [prefix + kind for kind in (name, published_name(name)) for prefix in _PREFIXES]
        given = next((there[item] for item in names if item in there), None)
        if given is None:
            continue
        if name == "stem.0.weight" and given.ndim == 5 and given.shape[1] == 1 < value.shape[1]:
            given = given.expand(-1, value.shape[1], -1, -1, -1) / value.shape[1]
        if given.shape == value.shape:
            own[name] = given.to(torch.float32) if value.dtype.is_floating_point else given
            taken.append(name)
    network.encoder.load_state_dict(own)
    return taken


def published_name(name: str) -> str:
    """The name of a weight in published ResNets: ``stages.0.1.body.3.weight`` is ``layer1.1.conv2.weight``."""
    parts = name.split(".")
    if parts[0] == "stem":
        return ".".join([{"0": "conv1", "1": "bn1"}.get(parts[1], parts[1]), *parts[2:]])
    if parts[0] != "stages":
        return name
    layer = f"layer{int(parts[1]) + 1}.{parts[2]}"
    if parts[3] == "body":
        return ".".join([layer, _BLOCK.get(parts[4], parts[4]), *parts[5:]])
    return ".".join([layer, "downsample", *parts[4:]])


def _from_hdf5(network: MultiTaskNet, path: Path) -> list[str]:
    from hepacast.deep.liver_cnn import LiverEncoder, load_liver_cnn

    if not isinstance(network.encoder, LiverEncoder):
        raise ModelError(
            "These weights are the built-in liver CNN's.",
            expected="deep.network.encoder: liver-cnn",
            found=network.spec.encoder,
            where=str(path),
        )
    return load_liver_cnn(network.encoder, path)
