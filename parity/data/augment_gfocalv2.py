"""GFocalV2's training augmentation: a drawn short side and a flip.

configs/gfocal/gfocal_r50_fpn_1x.py (one size) and gfocal_r101_fpn_ms2x.py (multiscale_mode range) of implus/GFocalV2.
"""

from dataclasses import dataclass, replace

import numpy as np

from parity.data.augment import Sample
from parity.data.settings import limits, probability, size
from parity.data.transforms import KeepRatio


@dataclass(frozen=True)
class GFocalV2Augment:
    """`scales` is the range of the short side, both ends included, empty for the preprocess's size.

    Boxes with a side below `min_box` pixels of the image file are no targets (mmdet/datasets/coco.py).
    """

    flip: float = 0.5
    scales: tuple[int, int] | tuple[()] = ()
    min_box: float = 1.0

    takes = KeepRatio

    def __post_init__(self):
        probability("flip", self.flip)
        if self.scales != () and self.scales != []:
            limits("scales", self.scales)
        size("min_box", self.min_box)

    def prepare(self, sample: Sample, rng: np.random.Generator, preprocess: KeepRatio) -> Sample:
        """Tensor float32 [3, h, w], boxes in its frame, labels."""
        image, boxes, labels = sample
        large = (boxes[:, 2] - boxes[:, 0] >= self.min_box) & (boxes[:, 3] - boxes[:, 1] >= self.min_box)
        boxes, labels = boxes[large], labels[large]
        if self.scales:
            preprocess = replace(preprocess, size=int(rng.integers(self.scales[0], self.scales[1] + 1)))
        tensor, boxes = preprocess(image, boxes)
        if self.flip > 0 and rng.random() < self.flip:  # after the resize, whose rounding is not symmetric
            tensor, flipped = np.ascontiguousarray(tensor[:, :, ::-1]), boxes.copy()
            flipped[:, 0::2] = tensor.shape[2] - boxes[:, 2::-2]
            boxes = flipped
        return tensor, boxes, labels
