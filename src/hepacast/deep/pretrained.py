"""Weights to start from: a file of the user with its checksum. Nothing is fetched here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hepacast.compute.hashing import hash_file
from hepacast.errors import ModelError

if TYPE_CHECKING:
    from hepacast.deep.networks import MultiTaskNet

#: Names under which published encoders keep the weights that we take over.
_PREFIXES = ("encoder.", "module.encoder.", "")


def load_pretrained(network: MultiTaskNet, path: Path, sha256: str) -> list[str]:
    """Take over every encoder weight of a file that has the name and the shape of one of ours.

    Parameters
    ----------
    network
        Its encoder is changed in place.
    path
        A safetensors file: a network that hepacast trained, or a converted one; or the HDF5 file of the built-in liver
        network, for the encoder ``liver-cnn``.
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
    taken = _from_hdf5(network, path) if path.suffix in (".hdf5", ".h5") else _from_safetensors(network, path)
    # Norms' counters fit anything; a network is taken over by its kernels.
    if not any(name.startswith("conv3d_") or network.encoder.state_dict()[name].ndim == 5 for name in taken):
        raise ModelError(
            "Nothing of the pretrained weights fits the network.",
            expected="an encoder of the same kind, width and number of channels",
            where=str(path),
        )
    return taken


def _from_safetensors(network: MultiTaskNet, path: Path) -> list[str]:
    import torch
    from safetensors import SafetensorError, safe_open

    own = network.encoder.state_dict()
    taken = []
    try:
        with safe_open(path, framework="pt") as file:
            there = set(file.keys())
            for name, value in own.items():
                source = next((prefix + name for prefix in _PREFIXES if prefix + name in there), None)
                if source is None:
                    continue
                given = file.get_tensor(source)
                if given.shape == value.shape:
                    own[name] = given.to(torch.float32) if value.dtype.is_floating_point else given
                    taken.append(name)
    except (SafetensorError, OSError) as error:
        raise ModelError("The pretrained weights cannot be read.", found=str(error), where=str(path)) from error
    network.encoder.load_state_dict(own)
    return taken


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
