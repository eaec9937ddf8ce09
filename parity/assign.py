"""Places and boxes of dense detectors: the points that predictions belong to, and ATSS.

NumPy, once for every framework: neither looks at what a network predicts, and an assignment decides by comparisons that
rounding may turn, so that both frameworks have to share it.
"""

from collections.abc import Sequence

import numpy as np


def level_points(shapes: Sequence[tuple[int, int]], strides: Sequence[int]) -> np.ndarray:
    """Upper left corners (x, y) of the cells of every level, float32 [N, 2] in pixels.

    shapes: (height, width) in cells per level. Level after level, rows from the top, each from the left.
    """
    points = []
    for (h, w), stride in zip(shapes, strides, strict=True):
        y, x = np.mgrid[:h, :w].astype(np.float32) * stride
        points.append(np.stack([x.ravel(), y.ravel()], 1))
    return np.concatenate(points)
