"""An image that every machine draws alike, from integers only."""

import numpy as np


def pattern(height: int, width: int) -> np.ndarray:
    """uint8 [height, width, 3]: slopes, hard edges and noise, as resamplers like to disagree on."""
    y, x, channel = np.ogrid[:height, :width, :3]
    slope = (3 * x + 5 * y + 40 * channel) % 256
    edges = 200 * ((x // 7 + y // 5 + channel) % 2)
    noise = ((x * 7919 + y * 104729 + channel * 1299709) * 2654435761 >> 13) % 256
    return ((slope + edges + noise) // 3 % 256).astype(np.uint8)
