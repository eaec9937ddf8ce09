"""The methods that a detector offers to `jittor_impl.framework`, the same for every model."""

from abc import abstractmethod
from typing import NamedTuple

import numpy as np

from jittor_impl.runtime import jt
from parity.data.draws import Draws
from parity.data.targets import Target

Var, nn = jt.Var, jt.nn


class Losses(NamedTuple):
    """named: components under the official names; total: the scalar to differentiate.

    matches: NumPy arrays under the names of `trace`: `match/<head>/img<i>/src` and `/tgt`, or `assign/img<i>`.
    parts: summands of components by name, `<component>/lvl<i>`, without gradient: for `trace`.
    """

    named: dict[str, Var]
    total: Var
    matches: dict[str, np.ndarray]
    parts: dict[str, Var] | None = None


class Detected(NamedTuple):
    """Detections of one image, NumPy: boxes [K, 4] xyxy pixels, scores [K], labels [K] int64."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Detector(nn.Module):
    """Base of the detectors. `epoch` is set before every training forward; some models change with it."""

    epoch: int = 0

    def train(self, mode: bool = True) -> "Detector":
        """Set the mode of every module, and nothing else: Jittor's own methods also switch gradients off and on."""
        for module in self.modules():
            module.is_train = mode
        return self

    def eval(self) -> "Detector":
        return self.train(False)

    @abstractmethod
    def execute(
        self,
        images: Var,
        sizes: Var | None = None,
        targets: list[Target] | None = None,
        draws: Draws | None = None,
    ) -> dict:
        """images [B, 3, H, W], sizes [B, 2] valid (height, width). Targets and draws are for training."""

    @abstractmethod
    def losses(self, outputs: dict, targets: list[Target]) -> Losses:
        """Losses of what `forward` returned in training mode."""

    @abstractmethod
    def detect(self, outputs: dict, sizes: Var) -> list[Detected]:
        """Detections in the frame of `sizes` [B, 2] (height, width)."""

    @abstractmethod
    def raw_outputs(self, outputs: dict) -> dict[str, Var]:
        """Raw outputs under the names of `trace`."""
