"""Deep networks: crops, one training loop, out-of-fold scores and features, explanation.

What lives here: residual encoders with a prediction and a segmentation pathway, their losses, training with resume,
cross-fitting, Grad-CAM and controls. What may not: study files, reports, models that are no networks.

The way through, for other rooms (PyTorch is imported when a network is made, not here)::

    crop = crop_patient(volumes, masks, spec)            # float32 (channels, z, y, x), one patient
    crops = CropStore.build(path, patients, make_crop)   # or np.stack of crops
    targets = Targets(outcome=y, masks=..., has_mask=..., covariates=...)
    fitted = cross_fit(crops, targets, folds, spec, seed, workdir, progress, workers=0)
    fitted.scores, fitted.features, fitted.masks         # each patient by the network that did not see the patient
    fitted.histories, fitted.networks
    external = apply_frozen(fitted.networks, other_crops)   # the mean of the folds' networks

Patients stand in the order of their identifiers; a fold's labels never enter the network that predicts the fold.
"""

from hepacast.deep.crops import channel_names, crop_geometry, crop_mask, crop_patient, uncrop
from hepacast.deep.crossfit import (
    CrossFit,
    FoldJob,
    apply_frozen,
    averaged_scale,
    between_networks,
    cross_fit,
    fold_jobs,
    gather,
    train_jobs,
)
from hepacast.deep.readings import Applied
from hepacast.deep.spec import Augmentation, CropSpec, DeepSpec, NetworkSpec, TrainingSpec
from hepacast.deep.store import CropStore
from hepacast.deep.targets import Targets
from hepacast.deep.trained import TrainedNetwork

__all__ = [
    "Applied",
    "Augmentation",
    "CropSpec",
    "CropStore",
    "CrossFit",
    "DeepSpec",
    "FoldJob",
    "NetworkSpec",
    "Targets",
    "TrainedNetwork",
    "TrainingSpec",
    "apply_frozen",
    "averaged_scale",
    "between_networks",
    "channel_names",
    "crop_geometry",
    "crop_mask",
    "crop_patient",
    "cross_fit",
    "fold_jobs",
    "gather",
    "train_jobs",
    "uncrop",
]
