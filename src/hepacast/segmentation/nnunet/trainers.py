"""The trainers that run in the child process.

`Accountable` adds nothing to the method: it draws the random numbers of every epoch from the study's seed, writes
checkpoints atomically, reads them without unpickling, and reports progress. With it an interrupted fold goes on to
the same numbers as an uninterrupted one. `demo_trainer` changes the training itself and says so in its name.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from hepacast.core.files import atomic_path
from hepacast.core.seeds import derive_seed
from hepacast.segmentation.nnunet.checkpoints import load_checkpoint
from hepacast.segmentation.nnunet.plan import NnunetPlan
from hepacast.segmentation.nnunet.process import send
from hepacast.segmentation.nnunet.start import load_start


def seed_everything(seed: int) -> None:
    """Seed the three generators that nnU-Net draws from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def trainer_class(plan: NnunetPlan, seed: int) -> type[nnUNetTrainer]:
    """The trainer of a plan, named as nnU-Net would name it."""

    class Accountable(nnUNetTrainer):
        """nnU-Net's trainer with seeds by epoch, atomic checkpoints and progress."""

        def __init__(  # nnU-Net looks its argument names up, so they may not change
            self,
            plans: dict,
            configuration: str,
            fold: int,
            dataset_json: dict,
            device: torch.device = torch.device("cuda"),
        ) -> None:
            seed_everything(derive_seed(seed, "nnunet-network", fold))
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs = plan.epochs
            self.num_iterations_per_epoch = plan.iterations
            self.num_val_iterations_per_epoch = plan.validation_iterations

        def plot_network_architecture(self) -> None:
            """Leave out a drawing that needs a package which no longer works."""

        def initialize(self) -> None:
            super().initialize()
            if plan.start is not None:
                load_start(getattr(self.network, "_orig_mod", self.network), plan.start)

        def on_epoch_start(self) -> None:
            seed_everything(derive_seed(seed, "nnunet-epoch", self.fold, self.current_epoch))
            super().on_epoch_start()

        def on_epoch_end(self) -> None:
            if not self._draws_progress():
                self.logger.plot_progress_png = lambda folder: None
            super().on_epoch_end()
            loss = float(self.logger.get_value("train_losses", step=-1))
            send({"fold": self.fold, "epoch": self.current_epoch, "epochs": self.num_epochs, "loss": loss})

        def _draws_progress(self) -> bool:
            return plan.preset != "demo"

        def save_checkpoint(self, filename: str) -> None:
            with atomic_path(filename) as temporary:
                super().save_checkpoint(str(temporary))

        def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
            if not self.was_initialized:
                self.initialize()
            _restore(self, load_checkpoint(filename_or_checkpoint))

    kind = demo_trainer(Accountable, plan) if plan.preset == "demo" else Accountable
    kind.__name__ = kind.__qualname__ = plan.trainer_name
    return kind


def _restore(trainer: Any, checkpoint: dict[str, Any]) -> None:
    """Go on where a checkpoint was written. nnU-Net's version unpickles the file; ours need not be trusted for that."""
    trainer.current_epoch = checkpoint["current_epoch"]
    trainer.logger.load_checkpoint(checkpoint["logging"])
    trainer._best_ema = checkpoint["_best_ema"]
    trainer.inference_allowed_mirroring_axes = checkpoint["inference_allowed_mirroring_axes"]
    network: Any = getattr(trainer.network, "_orig_mod", trainer.network)
    network.load_state_dict(checkpoint["network_weights"])
    trainer.optimizer.load_state_dict(checkpoint["optimizer_state"])
    if trainer.grad_scaler is not None and checkpoint["grad_scaler_state"] is not None:
        trainer.grad_scaler.load_state_dict(checkpoint["grad_scaler_state"])


class InnerPatches(nnUNetDataLoader):
    """Patches that stay inside the image.

    nnU-Net's own reach beyond the far edges and are filled with zeros there, which long trainings get used to; in a
    training of minutes it is a waste, since a tile of the finished network never looks like that.
    """

    def get_bbox(
        self,
        data_shape: Any,
        force_fg: bool,
        class_locations: Any,
        overwrite_class: Any = None,
        verbose: bool = False,
    ) -> tuple[list[int], list[int]]:
        lower, _ = super().get_bbox(data_shape, force_fg, class_locations, overwrite_class, verbose)
        lower = [
            int(max(0, min(first, size - side))) if size >= side else int(first)
            for first, size, side in zip(lower, data_shape, self.patch_size, strict=True)
        ]
        return lower, [first + int(side) for first, side in zip(lower, self.patch_size, strict=True)]


#: Share of the demo's steps in which the learning rate rises, and what it begins with as a share of the highest.
_RISE, _BEGIN = 0.25, 0.1


def one_cycle(step: int, steps: int, highest: float) -> float:
    """Learning rate of a step: up along a cosine in the first quarter, then down to 0 (Smith and Topin, 2019).

    Of a training of a few hundred steps. It follows from the step's number alone, so a training that is resumed goes on
    to the same numbers.
    """
    rise = _RISE * steps
    if step < rise:
        return highest * (_BEGIN + (1 - _BEGIN) * (1 - math.cos(math.pi * step / rise)) / 2)
    return highest * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2


def _by_step(base: type[nnUNetTrainer]) -> type[nnUNetTrainer]:
    """A trainer whose learning rate follows `one_cycle`; the scheduler that nnU-Net asks for changes it by epoch."""

    class ByStep(base):  # type: ignore[valid-type, misc]
        def on_epoch_start(self) -> None:
            super().on_epoch_start()
            self._step = self.current_epoch * self.num_iterations_per_epoch

        def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
            rate = one_cycle(self._step, self.num_epochs * self.num_iterations_per_epoch, self.initial_lr)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self._step += 1
            return super().train_step(batch)

    return ByStep


def demo_trainer(base: type[nnUNetTrainer], plan: NnunetPlan) -> type[nnUNetTrainer]:
    """The short recipe for a small network on a CPU.

    AdamW in the place of SGD (which had not found a tumor after 800 steps of a small network) with one cycle of the
    learning rate (of three seeds' 78 small tumors 13 are missed, 16 with a rate that only falls), no deep supervision,
    no augmentation: the body is never mirrored, so a network that sees no mirrored body learns faster where the liver
    is.
    """

    class Demo(_by_step(base)):  # type: ignore[valid-type, misc]
        def __init__(
            self,
            plans: dict,
            configuration: str,
            fold: int,
            dataset_json: dict,
            device: torch.device = torch.device("cpu"),
        ) -> None:
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.enable_deep_supervision = False
            self.oversample_foreground_percent = plan.foreground or 0.67
            self.probabilistic_oversampling = True
            self.initial_lr = plan.learning_rate or 3e-3
            self.save_every = 2

        def get_dataloaders(self) -> tuple[Any, Any]:
            stock = trainer_module.nnUNetDataLoader
            trainer_module.nnUNetDataLoader = InnerPatches
            try:
                return super().get_dataloaders()
            finally:
                trainer_module.nnUNetDataLoader = stock

        def configure_optimizers(self) -> tuple[Any, Any]:
            optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.initial_lr, weight_decay=self.weight_decay)
            return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

        def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:
            self.inference_allowed_mirroring_axes = None
            return (0.0, 0.0), False, self.configuration_manager.patch_size, ()

        @staticmethod
        def get_training_transforms(
            patch_size: Any, rotation_for_DA: Any, deep_supervision_scales: Any, *others: Any, **options: Any
        ) -> Any:
            return nnUNetTrainer.get_validation_transforms(deep_supervision_scales)

        def save_checkpoint(self, filename: str) -> None:
            # The network follows from the plans alone, so under this name stock nnU-Net can apply it as well.
            if Path(filename).name == "checkpoint_best.pth":
                return
            own = self.__class__.__name__
            self.__class__.__name__ = "nnUNetTrainer"
            try:
                super().save_checkpoint(filename)
            finally:
                self.__class__.__name__ = own

    return Demo
