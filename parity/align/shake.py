"""Weights for comparing two frameworks: the initial ones, changed a little so that none has a special value.

Fresh weights are a poor test. The last layer of every box head is zero, so nothing reaches the layers before it;
BatchNorm statistics are 0 and 1, so it does not matter whether they are used; and predicted boxes lie exactly on kinks
of the loss (an edge equal to the ground truth's, a sampling place on the border of a pixel), where the gradient jumps
and rounding alone decides to which side. A small random move ends all three.
"""

import zlib

import numpy as np

SHARE = 0.1  # of a tensor's root mean square
FLOOR = 0.02  # for tensors that are zero: the scale that transformers are initialised with


def shake(arrays: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Every floating tensor with normal noise added: a pure function of (names, values, seed).

    The standard deviation is SHARE of the tensor's root mean square, FLOOR where that is zero. Running variances are
    multiplied instead, so that they stay positive. Integers stay as they are.
    """
    shaken = {}
    for name, array in arrays.items():
        array = np.asarray(array)
        if array.dtype.kind != "f":
            shaken[name] = array
            continue
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])))
        noise, values = rng.standard_normal(array.shape), array.astype(np.float64)
        if name.endswith("running_var"):
            moved = values * np.exp(SHARE * noise)
        else:
            scale = np.sqrt(np.mean(np.square(values))) if array.size else 0.0
            moved = values + noise * (SHARE * scale if scale > 0 else FLOOR)
        shaken[name] = np.asarray(moved, array.dtype)
    return shaken
