"""The networks of one nnU-Net model in memory: an image's channels in, logits and their planes on its grid out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ModelError
from hepacast.segmentation.nnunet.air import tiles_with_body
from hepacast.segmentation.nnunet.checkpoints import load_checkpoint, plain_weights
from hepacast.segmentation.nnunet.inference import labels_of, planes_on_grid, sliding_logits
from hepacast.segmentation.nnunet.model import NnunetModel

if TYPE_CHECKING:
    import torch

#: Told the share done and a message.
Report = Callable[[float, str], None]


class _WithoutMask:
    """A configuration for an image without a mask: nnU-Net would resample an empty one, which nobody reads."""

    def __init__(self, configuration: Any) -> None:
        self._configuration = configuration

    def __getattr__(self, name: str) -> Any:
        return getattr(self._configuration, name)

    @staticmethod
    def resampling_fn_seg(mask: npt.NDArray[Any], shape: Sequence[int], *_: Any) -> npt.NDArray[Any]:
        return np.zeros((len(mask), *shape), dtype=mask.dtype)


class LoadedModel:
    """One model's networks, with nnU-Net's own preprocessing; of a cascade both stages.

    Parameters
    ----------
    model
        The folder.
    device
        Where the networks are.
    precision
        Of their arithmetic.
    mirror, step
        As in `NnunetSegmenter`.
    skip_air
        Whether tiles of a CT that hold air alone are left out.
    """

    def __init__(
        self, model: NnunetModel, device: Any, *, precision: str, mirror: bool, step: float, skip_air: bool
    ) -> None:
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        self.model = model
        self.device = device
        self._precision, self._mirror, self._step, self._skip_air = precision, mirror, step, skip_air
        self.plans = PlansManager(model.plans)
        self.configuration = self.plans.get_configuration(model.configuration_name)
        self.label_manager = self.plans.get_label_manager(model.dataset)
        self.preprocessor = self.configuration.preprocessor_class(verbose=False)
        self.previous: LoadedModel | None = None
        if model.previous is not None:
            self.previous = LoadedModel(
                model.previous, device, precision=precision, mirror=mirror, step=step, skip_air=skip_air
            )
        self.networks = []
        self.mirror_axes: tuple[int, ...] = ()
        for path in model.files:
            checkpoint = load_checkpoint(path)
            self.mirror_axes = tuple(checkpoint.get("inference_allowed_mirroring_axes") or ())
            self.networks.append(self._network(checkpoint["network_weights"], path))

    def _network(self, weights: dict[str, Any], path: Path) -> Any:
        from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
        from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

        network = get_network_from_plans(
            self.configuration.network_arch_class_name,
            self.configuration.network_arch_init_kwargs,
            self.configuration.network_arch_init_kwargs_req_import,
            determine_num_input_channels(self.plans, self.configuration, self.model.dataset),
            self.label_manager.num_segmentation_heads,
            allow_init=False,
            deep_supervision=False,
        )
        try:
            network.load_state_dict(plain_weights(weights))
        except RuntimeError as error:
            raise ModelError(
                "The checkpoint does not fit the network that plans.json describes.",
                found=str(error).strip().splitlines()[-1].strip()[:300],
                where=str(path),
                remedy="models whose trainer changes the network itself cannot be applied here",
            ) from error
        return network.to(self.device).eval()

    def logits(
        self, array: npt.NDArray[Any], spacing: Sequence[float], report: Report
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Mean logits (class, slice, row, column) of the networks on their own grid, and nnU-Net's properties.

        Parameters
        ----------
        array
            Shape (channel, slice, row, column).
        spacing
            mm, along (slice, row, column).
        report
            Told the share done.
        """
        import torch
        from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot

        before, start = None, 0.0
        if self.previous is not None:
            start = 0.5
            before = self.previous.labels(array, spacing, lambda share, message: report(share / 2, message))
        data, seg, properties = self.preprocessor.run_case_npy(
            array.astype(np.float32, copy=False),
            None if before is None else before[None].astype(np.int8),
            {"spacing": list(spacing)},
            self.plans,
            _WithoutMask(self.configuration) if before is None else self.configuration,
            self.model.dataset,
        )
        if before is not None:
            # As channels, so that the second stage sees what the first one found.
            one_hot = convert_labelmap_to_one_hot(seg[0], self.label_manager.foreground_labels, data.dtype)
            data = np.vstack((data, one_hot))
        tensor = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32))
        wanted = self._wanted(array, properties, tensor.shape[1:])
        total: torch.Tensor | None = None
        with torch.inference_mode():
            for number, network in enumerate(self.networks):

                def tell(done: int, tiles: int, fold: int = number) -> None:
                    share = (fold + done / tiles) / len(self.networks)
                    report(start + (1 - start) * share, f"fold {fold + 1}, tile {done}/{tiles}")

                part = sliding_logits(
                    network,
                    tensor,
                    self.configuration.patch_size,
                    self.label_manager.num_segmentation_heads,
                    device=self.device,
                    step=self._step,
                    mirror_axes=self.mirror_axes if self._mirror else (),
                    precision=self._precision,
                    wanted=wanted,
                    regions=self.model.regions is not None,
                    report=tell,
                )
                total = part if total is None else total.add_(part)
            assert total is not None
            return total.div_(len(self.networks)), properties

    def _wanted(
        self, array: npt.NDArray[Any], properties: dict[str, Any], shape: Sequence[int]
    ) -> Callable[[Sequence[int], Sequence[int]], bool] | None:
        """Which tiles touch the body; None: all are computed."""
        hounsfield = [number for number, is_ct in enumerate(self.model.in_hounsfield) if is_ct]
        if not self._skip_air or not hounsfield:
            return None
        hu = array[hounsfield].max(axis=0).transpose(self.plans.transpose_forward)
        box = tuple(slice(a, b) for a, b in properties["bbox_used_for_cropping"])
        return tiles_with_body(hu[box], shape)

    def planes(self, logits: torch.Tensor, properties: dict[str, Any]) -> Iterator[torch.Tensor]:
        """Logits (class, row, column) of each slice of the image's grid, cropped and turned as nnU-Net has it."""
        from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis

        shape = properties["shape_after_cropping_and_before_resampling"]
        wanted = [properties["spacing"][axis] for axis in self.plans.transpose_forward]
        current = list(self.configuration.spacing)
        if len(current) == 2:
            current = [wanted[0], *current]
        settings = self.configuration.configuration
        usual = settings.get("resampling_fn_probabilities") == "resample_data_or_seg_to_shape"
        options = settings.get("resampling_fn_probabilities_kwargs", {})
        separate, axis = determine_do_sep_z_and_axis(options.get("force_separate_z"), current, wanted)
        linear = options.get("order", 1) == 1 and options.get("order_z", 0) == 0
        if usual and linear and (not separate or axis == 0):
            return planes_on_grid(logits, shape, separate_slices=bool(separate))
        # A model with a resampling of its own: nnU-Net's function, with all logits in memory.
        import torch

        resampled = self.configuration.resampling_fn_probabilities(logits.float(), shape, current, wanted)
        return iter(torch.as_tensor(resampled).unbind(1))

    def labels(self, array: npt.NDArray[Any], spacing: Sequence[float], report: Report) -> npt.NDArray[np.uint8]:
        """Labels on the image's grid (slice, row, column)."""
        return labels_by([self], array, spacing, report)


def labels_by(
    models: Sequence[LoadedModel], array: npt.NDArray[Any], spacing: Sequence[float], report: Report
) -> npt.NDArray[np.uint8]:
    """Labels (slice, row, column) of one model, or of the mean probability of several."""
    found: list[torch.Tensor] = []
    properties: dict[str, Any] = {}
    for number, model in enumerate(models):

        def tell(share: float, message: str, done: int = number) -> None:
            report((done + share) / len(models), message)

        logits, properties = model.logits(array, spacing, tell)
        found.append(logits)
    return labels_of_logits(models, found, properties)


def labels_of_logits(
    models: Sequence[LoadedModel], logits: Sequence[torch.Tensor], properties: dict[str, Any]
) -> npt.NDArray[np.uint8]:
    """Labels on the image's grid (slice, row, column) from each model's logits."""
    import torch

    first = models[0]
    whole = np.zeros(properties["shape_before_cropping"], dtype=np.uint8)
    box = tuple(slice(a, b) for a, b in properties["bbox_used_for_cropping"])
    shape = properties["shape_after_cropping_and_before_resampling"]
    with torch.inference_mode():
        planes = [model.planes(item, properties) for model, item in zip(models, logits, strict=True)]
        whole[box] = labels_of(planes, shape, first.model.regions)
    return np.ascontiguousarray(whole.transpose(first.plans.transpose_backward))
