"""A real CT by the program: outlined by the built-in networks, measured, and its risk by a bundle of virtual patients.

The risk means nothing (the model knows virtual patients only, and says so); what is tested is the way from a hospital's
scan to the page.
"""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from hepacast.imaging.io import read_labelmap
from hepacast.segmentation.metrics import segmentation_metrics

pytestmark = [pytest.mark.slow, pytest.mark.data]

NAMES = ("--labels", "parenchyma=1,tumor=2")
LABS = ("--labs", "inr=1.2", "alb=38 g/L")


@pytest.fixture
def scan(data_dir):
    """Image and expert mask (liver 1, tumor 2) of patient 17 of 3D-IRCADb."""
    folder = data_dir("ct/ircadb17")
    return folder / "ircadb17_ct.nii.gz", folder / "ircadb17_seg_1liver_2tumour.nii.gz"


def test_a_real_ct_is_outlined_and_given_a_risk(scan, finished, hepacast, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("h5py")
    image, expert = scan
    mask, overlay, out = tmp_path / "mask.nii.gz", tmp_path / "overlay.png", tmp_path / "patient"
    answer = hepacast("segment", image, "-o", mask, "--overlay", overlay, "--quiet")
    if "cannot be fetched" in answer.err:
        pytest.skip("the weights of the built-in networks cannot be fetched")
    assert answer.code == 0, answer.err
    assert "parenchyma=1, tumor=2" in answer.out
    assert overlay.read_bytes().startswith(b"\x89PNG")
    truth, found = (read_labelmap(path, {"parenchyma": 1, "tumor": 2}) for path in (expert, mask))
    liver, lesions = (
        segmentation_metrics(
            truth.volume.with_array(truth.volume.array >= least), found.volume.with_array(found.volume.array >= least)
        ).dice
        for least in (1, 2)
    )
    assert liver >= 0.95
    assert lesions >= 0.60
    answer = hepacast(
        *("predict", finished.bundle, "--image", image, "--mask", mask, *LABS),
        *("--out", out, "--json", "--quiet"),
    )
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert 0 < result["risk"] < 1
    assert result["low"] <= result["risk"] <= result["high"]
    assert sorted(item.name for item in out.iterdir()) == ["overlay.png", "prediction.json", "prediction.pdf"]


def test_a_real_ct_is_measured_with_the_leading_studys_settings(scan, finished, hepacast, tmp_path):
    image, expert = scan
    answer = hepacast("extract", image, expert, *NAMES, "-o", tmp_path / "all.parquet", "--quiet")
    assert answer.code == 0, answer.err
    assert "1874 features of 2 VOIs" in answer.out
    table = pd.read_parquet(tmp_path / "all.parquet")
    assert table.groupby("voi")["feature"].nunique().to_dict() == {"parenchyma": 1874, "tumor": 1874}
    assert (table["status"] == "ok").all()
    assert np.isfinite(table["value"]).all()
    volumes = table[table["feature"] == "original_shape_VoxelVolume"].set_index("voi")["value"]
    # 1,920,507 and 185,990 voxels of 0.743 x 0.743 x 1.6 mm
    assert volumes["parenchyma"] / 1000 == pytest.approx(1696.3, rel=1e-3)
    assert volumes["tumor"] / 1000 == pytest.approx(164.3, rel=1e-3)


def test_the_risk_of_a_real_ct_is_made_of_its_features(scan, finished, hepacast, tmp_path):
    """Features as `extract` gives them, put into the bundle's formula by hand; a value beyond the training warns."""
    image, expert = scan
    words = ("extract", image, expert, *NAMES, "--settings", finished.folder / "fast.yaml")
    assert hepacast(*words, "-o", tmp_path / "f.parquet", "--quiet").code == 0
    table = pd.read_parquet(tmp_path / "f.parquet")
    features = dict(zip(table["voi"] + ":" + table["feature"], table["value"], strict=True))
    answer = hepacast("predict", finished.bundle, "--image", image, "--mask", expert, *LABS, "--json", "--quiet")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    with zipfile.ZipFile(finished.bundle) as archive:
        score = json.loads(archive.read("models.json"))["score"]
    by_hand = score["intercept"] + sum(
        item["weight"] * (features[item["name"]] - item["mean"]) / item["sd"] for item in score["features"]
    )
    assert result["radscore"] == pytest.approx(by_hand, rel=1e-9)
    assert any("outside" in item for item in result["warnings"]), result["warnings"]
