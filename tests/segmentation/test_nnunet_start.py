"""A training that begins with another model's weights: what is taken over, what begins anew, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hepacast.core.hashing import hash_file
from hepacast.errors import ModelError, StudyFileError

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from tiny_model import dataset_json, plans, write_model  # noqa: E402

from hepacast.segmentation.nnunet import nnunet_plan  # noqa: E402
from hepacast.segmentation.nnunet.checkpoints import load_checkpoint  # noqa: E402
from hepacast.segmentation.nnunet.start import adopt_plan, load_start, read_start  # noqa: E402

PLAN = nnunet_plan("fast")
FIRST, HEAD = "encoder.stages.0.0.convs.0.conv.weight", "decoder.seg_layers.0.weight"


def checkpoint(tmp_path, dataset=None, **changes):
    """A checkpoint as nnU-Net's trainer writes it, with plan and dataset; returns file and SHA-256."""
    root = write_model(tmp_path, folds=(0,))
    path = root / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    theirs = {**plans(), "dataset_name": "Dataset900_other", **changes}
    content["init_args"] |= {"plans": theirs, "dataset_json": dataset or dataset_json()}
    torch.save(content, path)
    return path, hash_file(path)


def network(channels=1, outputs=3, features=(4, 8)):
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = plans()["configurations"]["3d_fullres"]["architecture"]
    torch.manual_seed(7)
    return get_network_from_plans(
        architecture["network_class_name"],
        {**architecture["arch_kwargs"], "features_per_stage": list(features)},
        architecture["_kw_requires_import"],
        channels,
        outputs,
        deep_supervision=True,
    )


def test_all_weights_are_taken_over_where_structures_and_inputs_are_the_same(tmp_path):
    path, sha = checkpoint(tmp_path)
    start = read_start(path, sha.upper(), PLAN)
    assert (start.same_classes, start.same_inputs, start.source_channels) == (True, True, None)
    made = network()
    load_start(made, start)
    for key, value in load_checkpoint(path)["network_weights"].items():
        torch.testing.assert_close(made.state_dict()[key], value, rtol=0, atol=0)
    sentence = replace(PLAN, start=start).sentence()
    assert sha[:12] in sentence and "Dataset900_other" in sentence and "anew" not in sentence
    moved = replace(start, file="/elsewhere.pth")
    assert replace(PLAN, start=start).deciding() == replace(PLAN, start=moved).deciding()


def test_heads_of_other_structures_begin_anew_and_the_first_kernels_are_spread(tmp_path):
    path, sha = checkpoint(tmp_path, dataset_json(labels=("kidney", "cyst")))
    plan = replace(PLAN, channels={"arterial": "CT", "portal": "CT"})
    start = read_start(path, sha, plan)
    assert (start.same_classes, start.same_inputs, start.source_channels) == (False, False, 1)
    fresh, made = network(2).state_dict(), network(2)
    load_start(made, start)
    source, own = load_checkpoint(path)["network_weights"], made.state_dict()
    torch.testing.assert_close(own[HEAD], fresh[HEAD], rtol=0, atol=0)
    for channel in range(2):
        torch.testing.assert_close(own[FIRST][:, channel], source[FIRST][:, 0], rtol=0, atol=0)
    deeper = "encoder.stages.1.0.convs.0.conv.weight"
    torch.testing.assert_close(own[deeper], source[deeper], rtol=0, atol=0)
    sentence = replace(plan, start=start).sentence()
    assert "initialized anew" in sentence and "mean of the first kernels over its 1 channel" in sentence


def test_the_plan_of_the_source_is_kept_with_its_scale_of_intensities(tmp_path):
    path, sha = checkpoint(tmp_path, transpose_forward=[1, 0, 2], transpose_backward=[1, 0, 2])
    ours = plans(patch=(16, 32, 32), spacing=(5.0, 1.0, 1.0))
    ours["configurations"]["3d_fullres"]["data_identifier"] = "ours"
    ours["foreground_intensity_properties_per_channel"] = {"0": {"mean": 0.0}}
    adopt_plan(ours, read_start(path, sha, PLAN))
    adopted = ours["configurations"]["3d_fullres"]
    assert (adopted["patch_size"], adopted["spacing"]) == ([8, 16, 16], [4.0, 2.0, 2.0])
    assert adopted["data_identifier"] == "ours" and ours["transpose_forward"] == [1, 0, 2]
    assert ours["foreground_intensity_properties_per_channel"]["0"]["mean"] == 100.0
    mr = replace(PLAN, channels={"portal": "MR"})
    ours["configurations"]["3d_fullres"]["normalization_schemes"] = ["ZScoreNormalization"]
    ours["foreground_intensity_properties_per_channel"] = {"0": {"mean": 0.0}}
    adopt_plan(ours, read_start(path, sha, mr))
    assert ours["configurations"]["3d_fullres"]["normalization_schemes"] == ["ZScoreNormalization"]
    assert ours["foreground_intensity_properties_per_channel"]["0"]["mean"] == 0.0


def test_another_file_configuration_or_network_is_refused(tmp_path):
    path, sha = checkpoint(tmp_path / "a")
    with pytest.raises(ModelError, match="another file than the one"):
        read_start(path, "0" * 64, PLAN)
    with pytest.raises(StudyFileError, match=r"(?s)that model's configuration.*\[3d_fullres\]"):
        read_start(path, sha, nnunet_plan("fast", configurations=("2d",)))
    with pytest.raises(ModelError, match="is missing"):
        read_start(tmp_path / "none.pth", sha, PLAN)
    start = read_start(path, sha, PLAN)
    with pytest.raises(ModelError, match=r"(?s)does not fit the network.*expected: .*weight"):
        load_start(network(features=(4, 16)), start)
    mute = write_model(tmp_path / "b", folds=(0,)) / "fold_0" / "checkpoint_final.pth"
    with pytest.raises(ModelError, match="does not say what it was trained on"):
        read_start(mute, hash_file(mute), PLAN)
    evil = json.loads(json.dumps(plans()))
    evil["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "os.system"
    path, sha = checkpoint(tmp_path / "c", configurations=evil["configurations"])
    with pytest.raises(ModelError, match="no network and no layer"):
        read_start(path, sha, PLAN)
