from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hepacast.core.hashing import hash_file
from hepacast.deep import DeepSpec, NetworkSpec, TrainedNetwork
from hepacast.deep.blocks import region_pool, regions_of, spread_cube
from hepacast.deep.networks import MultiTaskNet, count_parameters
from hepacast.deep.pretrained import load_pretrained
from hepacast.deep.training import new_network
from hepacast.errors import ModelError

#: What the first format told of a network.
OLD_KEYS = ("tasks", "encoder", "dimensions", "width", "stages", "stem_stride", "norm", "outcome", "features")


@pytest.mark.parametrize("encoder", ["resnet10", "resnet18", "resnet34", "resnet50"])
@pytest.mark.parametrize("dimensions", ["3d", "2.5d"])
def test_outputs_have_their_shapes(encoder: str, dimensions: str) -> None:
    spec = NetworkSpec(encoder=encoder, dimensions=dimensions, width=4, stages=3, features=6)
    network = MultiTaskNet(spec, channels=2, covariates=1).eval()
    output = network(torch.randn(2, 2, 10, 16, 24), torch.zeros(2, 1))
    assert output.outcome.shape == (2, 1)
    assert output.features.shape == (2, 6)
    assert output.masks[0].shape == (2, 1, 10, 16, 24)
    assert len(output.masks) == spec.stages


@pytest.mark.parametrize("stem", [1, 2])
def test_single_task_variants_share_the_encoder(stem: int) -> None:
    whole = DeepSpec(network=NetworkSpec(encoder="resnet10", width=4, stages=2, stem_stride=stem))
    networks = {
        kind: new_network(whole.with_tasks(kind), 1, 0, 3) for kind in ("multi-task", "classifier", "segmenter")
    }
    image = torch.randn(1, 1, 8, 8, 8)
    classifier, segmenter = networks["classifier"].eval()(image), networks["segmenter"].eval()(image)
    assert classifier.masks == ()
    assert segmenter.outcome is None
    first = networks["multi-task"].encoder.state_dict()
    for kind in ("classifier", "segmenter"):
        other = networks[kind].encoder.state_dict()
        assert all(torch.equal(value, other[name]) for name, value in first.items())


def test_deeper_encoders_have_more_weights() -> None:
    sizes = [count_parameters(MultiTaskNet(NetworkSpec(encoder=name, width=4), 1)) for name in ("resnet10", "resnet34")]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("encoder", "shortcut", "millions"),
    [("resnet10", "projection", 14.36), ("resnet18", "padding", 32.99), ("resnet34", "padding", 63.30),
     ("resnet50", "projection", 46.16)],
)  # fmt: skip
def test_published_encoders_have_the_published_number_of_weights(encoder: str, shortcut: str, millions: float) -> None:
    """Chen S, Ma K, Zheng Y. Med3D, arXiv:1904.00625: 3D ResNets of width 64 for images of one channel."""
    spec = NetworkSpec(encoder=encoder, width=64, stem="resnet", shortcut=shortcut, tasks="classifier")
    assert count_parameters(MultiTaskNet(spec, 1).encoder) / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_published_stem_serves_both_pathways() -> None:
    spec = NetworkSpec(encoder="resnet50", width=4, stages=2, stem="resnet", features=6)
    output = MultiTaskNet(spec, 1).eval()(torch.randn(1, 1, 16, 24, 20))
    assert output.masks[0].shape == (1, 1, 16, 24, 20)
    with pytest.raises(ValueError, match="stem_stride"):
        NetworkSpec(stem="resnet", stem_stride=1)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_published_weights_are_taken_by_their_names(ending: str, tmp_path: Path) -> None:
    """A file as MedicalNet's: DataParallel's prefix, one channel, names of torchvision."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(3)
    sizes = {"conv1.weight": (4, 1, 7, 7, 7), "layer2.0.conv1.weight": (8, 4, 3, 3, 3),
             "layer2.0.downsample.0.weight": (8, 4, 1, 1, 1), "layer1.0.bn2.running_mean": (4,)}  # fmt: skip
    given = {f"module.{name}": torch.randn(size, generator=generator) for name, size in sizes.items()}
    path = tmp_path / f"published.{ending}"
    if ending == "pth":
        torch.save({"state_dict": given, "epoch": 3}, path)
    else:
        save_file(given, path)
    network = MultiTaskNet(NetworkSpec(encoder="resnet10", width=4, stages=2, stem="resnet"), 2)
    taken = load_pretrained(network, path, hash_file(path))
    assert sorted(taken) == ["stages.0.0.body.4.running_mean", "stages.1.0.body.0.weight",
                             "stages.1.0.shortcut.0.weight", "stem.0.weight"]  # fmt: skip
    own = network.encoder.state_dict()
    assert torch.equal(own["stages.1.0.shortcut.0.weight"], given["module.layer2.0.downsample.0.weight"])
    # One phase in both channels gives what the published network gives for it.
    assert torch.allclose(own["stem.0.weight"].sum(dim=1), given["module.conv1.weight"][:, 0])


class _Opens:
    """A pickle that would run something."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("was-run"),)


def test_a_file_that_would_run_something_is_refused(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    torch.save({"x": _Opens()}, path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_pretrained(new_network(small, 1, 0, 1), path, hash_file(path))
    assert not (tmp_path / "was-run").exists()


def test_networks_of_the_first_format_predict_as_before() -> None:
    """Blocks of ResNet-50 were no wider outside than inside."""
    old = NetworkSpec(encoder="resnet50", width=8, stages=2, expansion=1)
    weights = {name: value.numpy() for name, value in MultiTaskNet(old, 1).state_dict().items()}
    entry = TrainedNetwork(old, 1, weights).to_json() | {"schema": 1}
    entry["network"] = {key: value for key, value in entry["network"].items() if key in OLD_KEYS}
    assert TrainedNetwork.from_parts(entry, weights).spec.expansion == 1


def test_the_outcome_does_not_bend_the_mask() -> None:
    network = MultiTaskNet(NetworkSpec(encoder="resnet10", width=4, stages=2), 1)
    network(torch.randn(2, 1, 8, 8, 8)).outcome.sum().backward()
    assert all(item.grad is None for item in network.decoder.parameters())


def test_pooling_over_a_region_is_its_mean_and_sd() -> None:
    generator = np.random.default_rng(1)
    x, mask = generator.standard_normal((1, 2, 5, 5, 5)), generator.random((1, 1, 5, 5, 5)) < 0.4
    pooled = region_pool(torch.tensor(x), torch.tensor(mask.astype(float)))[0].numpy()
    inside = x[0][:, mask[0, 0]]
    np.testing.assert_allclose(pooled[:2], inside.mean(axis=1))
    np.testing.assert_allclose(np.exp(pooled[2:]), inside.std(axis=1), rtol=1e-3)


def test_core_rim_and_surroundings_of_a_cube() -> None:
    cube = torch.zeros(1, 1, 11, 11, 11)
    cube[..., 3:8, 3:8, 3:8] = 1.0
    core, rim, around = regions_of(cube, 1)[0]
    assert float(core.sum()) == 27
    assert float(rim.sum()) == 125 - 27
    assert float(around.sum()) == 343 - 125
    assert float((core * rim).sum()) == 0


def test_channels_go_to_their_voxels() -> None:
    x = torch.arange(8.0).reshape(1, 8, 1, 1, 1)
    np.testing.assert_array_equal(spread_cube(x, (2, 2, 2))[0, 0].numpy(), np.arange(8.0).reshape(2, 2, 2))


def test_a_saved_network_predicts_the_same(cubes, small, tmp_path: Path) -> None:
    crops, _ = cubes
    network = new_network(small, 1, 0, 1)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    trained = TrainedNetwork(small.network, 1, weights, shift=0.3, feature_scale=np.ones((8, 2)))
    path = tmp_path / "network.safetensors"
    trained.save(path)
    again = TrainedNetwork.load(path)
    np.testing.assert_array_equal(again.apply(crops).scores, trained.apply(crops).scores)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ModelError, match="cannot be read"):
        TrainedNetwork.load(path)
    with pytest.raises(ModelError, match="do not fit"):
        TrainedNetwork.from_parts(trained.to_json(), {"x": np.zeros(1)})
    with pytest.raises(ModelError, match="not what the network was trained on"):
        trained.apply(np.zeros((1, 2, 16, 16, 16), dtype=np.float32))


def test_pretrained_weights_are_taken_by_checksum_alone(small, tmp_path: Path) -> None:
    source = new_network(small, 1, 0, 11)
    path = tmp_path / "encoder.safetensors"
    weights = {name: value.numpy() for name, value in source.state_dict().items()}
    TrainedNetwork(small.network, 1, weights).save(path)
    network = new_network(small, 1, 0, 5)
    taken = load_pretrained(network, path, hash_file(path))
    assert len(taken) == len(network.encoder.state_dict())
    assert torch.equal(network.encoder.stem[0].weight, source.encoder.stem[0].weight)
    with pytest.raises(ModelError, match="not the ones"):
        load_pretrained(network, path, "0" * 64)
    with pytest.raises(ModelError, match="does not exist"):
        load_pretrained(network, tmp_path / "none.safetensors", "0" * 64)
    other = MultiTaskNet(NetworkSpec(encoder="resnet10", width=6, stages=2), 3)
    with pytest.raises(ModelError, match="Nothing"):
        load_pretrained(other, path, hash_file(path))
    with pytest.raises(ValueError, match="checksum"):
        NetworkSpec(pretrained="x.safetensors")


def test_the_liver_cnn_is_taken_over_level_by_level(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    spec = NetworkSpec(encoder="liver-cnn", stages=3, features=4)
    network = MultiTaskNet(spec, 1)
    path = tmp_path / "liver.hdf5"
    generator = np.random.default_rng(1)
    shapes = [
        (3, 3, 1, 1, 20), (3, 3, 3, 20, 40), (3, 3, 1, 40, 40), (3, 3, 3, 40, 80), (3, 3, 1, 80, 80), (3, 3, 3, 80, 160)
    ]  # fmt: skip
    kernels = [generator.standard_normal(shape).astype(np.float32) for shape in shapes]
    with h5py.File(path, "w") as file:
        for number, kernel in enumerate(kernels, start=1):
            group = file.create_group(f"conv3d_{number}/conv3d_{number}")
            group["kernel:0"], group["bias:0"] = kernel, np.full(kernel.shape[-1], 0.5, dtype=np.float32)
    assert len(load_pretrained(network, path, hash_file(path))) == 6
    first = network.encoder.stem.weight.detach().numpy()
    np.testing.assert_array_equal(first[7, 0, 0, 2, 1], kernels[0][1, 2, 0, 0, 7])
    output = network.eval()(torch.randn(1, 1, 12, 14, 16))
    assert output.masks[0].shape == (1, 1, 12, 14, 16)
    with pytest.raises(ModelError, match="do not fit"):
        load_pretrained(MultiTaskNet(spec, 2), path, hash_file(path))
    with pytest.raises(ModelError, match="liver CNN"):
        load_pretrained(MultiTaskNet(NetworkSpec(encoder="resnet10", width=4), 1), path, hash_file(path))
