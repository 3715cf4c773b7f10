"""Bundles that earlier versions wrote are read, and say of a patient what those versions said.

`old/COMMIT/NAME.hepacast` was written by that commit from the golden study of the same name, and `NAME.json` holds the
patients and that commit's own answers: logistic models and a score from images (ptlf), classifiers as arrays (auto),
Cox and Fine and Gray, a logistic model of the event by a horizon, classifiers and networks joined (fusion), networks on
their own. The earlier of the two has networks of schema 1, the later of schema 2; `networks` is a ResNet-50 in the
first, whose blocks were no wider outside than inside. One thing was decided anew since the first: networks give no
limits for a patient of whom a value is not known.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hepacast.bundle import Bundle, predict
from hepacast.imaging import Geometry, Volume
from hepacast.study.predict import predict_patient

OLD = Path(__file__).parent / "old"
FILES = sorted(path for path in OLD.glob("*/*.hepacast"))
GRID = Geometry((30, 28, 16), (3.0, 3.0, 5.0))
#: Sums of a network are made in another order on another machine, and an image is resampled and measured.
BY_NETWORKS_OR_IMAGES, BY_TABLE = 1e-6, 1e-12


def answer_of(path, case):
    """What this version says: bundle, patient and model as they were."""
    if path.stem == "networks":
        return of_networks(path, case)
    if "images" not in case:
        return predict(Bundle.read(path), case["labs"], case["features"], model=case["model"]).to_json()
    images = [f"{name}={OLD / 'images' / file}" for name, file in case["images"].items()]
    if len(images) == 1:
        images = OLD / "images" / next(iter(case["images"].values()))
    labs = [f"{name}={value}" for name, value in case["labs"].items()]
    mask = OLD / "images" / case["mask"]
    return predict_patient(path, image=images, mask=mask, labs=labs, model=case["model"]).to_json()


def of_networks(path, case):
    from hepacast.bundle.networks import NetworkBundle, predict_networks

    generator = np.random.default_rng(1)
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[6:11, 10:18, 12:20] = True
    image = Volume(generator.normal(80, 30, GRID.shape).astype(np.int16), GRID)
    tumor = {"tumor": Volume(mask, GRID)}
    return predict_networks(NetworkBundle.read(path), {"x": image}, tumor, case["labs"]).prediction.to_json()


def differences(old, new, tolerance, where=""):
    """Paths at which a number or word of the old answer is another now."""
    if isinstance(old, dict):
        for key, value in old.items():
            yield from differences(value, new.get(key) if isinstance(new, dict) else None, tolerance, f"{where}/{key}")
    elif isinstance(old, list):
        for place, value in enumerate(old):
            yield from differences(value, new[place], tolerance, f"{where}/{place}")
    elif isinstance(old, float) and isinstance(new, int | float):
        if not math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance):
            yield f"{where}: {old!r} -> {new!r}"
    elif old != new:
        yield f"{where}: {old!r} -> {new!r}"


def test_bundles_of_both_schemas_are_there():
    names = {path.parent.name: set() for path in FILES}
    for path in FILES:
        names[path.parent.name].add(path.stem)
    assert len(names) == 2
    for kinds in names.values():
        assert kinds == {"clinical", "cox", "competing", "horizon", "auto", "ptlf", "fusion", "networks"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_old_bundle_says_what_it_said(path):
    if path.stem in ("fusion", "networks"):
        pytest.importorskip("torch")
    for case in json.loads(path.with_suffix(".json").read_text(encoding="utf-8")):
        new = answer_of(path, case)
        new["shares"] = {item["name"]: item["contribution"] for item in new["shares"]}
        tolerance = BY_NETWORKS_OR_IMAGES if "images" in case or path.stem == "networks" else BY_TABLE
        assert not list(differences(case["answer"], new, tolerance)), case.get("model")
