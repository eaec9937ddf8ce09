"""Boxes that were read in the wrong form (xywh for xyxy, say), recognised over all boxes of a split.

A single box that leaves its image is an annotator's slip. Where many do, and all of them fit their images in another
form, the form is wrong, and every box is: training would learn boxes that nobody drew, without an error.
"""

import numpy as np

WRITTEN = {
    "size": "[x, y, width, height]",
    "corners": "[x1, y1, x2, y2]",
    "centre": "[centre x, centre y, width, height]",
}
FEWEST = {"size": 4, "corners": 3, "centre": 8}  # with fewer boxes another form is not believed
MARGIN = 0.02  # share of a side, plus a pixel: a box that passes the image by less is a slip
MANY = 0.4  # share of boxes that do not fit in the form that they were read in
FITTING = 0.99  # share of boxes that fit in the other form
TOUCHING, SOME = 0.95, 0.2  # or: shares of boxes that touch or leave the image, and that leave it


def other_form(values: np.ndarray, sizes: np.ndarray, read_as: str) -> str | None:
    """One sentence that says what is wrong with the form of all boxes, or None.

    `values` float [n, 4] as they stand in the file, in pixels; `sizes` [n, 2] width and height of the image of each.
    `read_as` is a key of WRITTEN.
    """
    values, sizes = np.asarray(values, np.float64).reshape(-1, 4), np.asarray(sizes, np.float64).reshape(-1, 2)
    if not len(values):
        return None
    misfit = ~_fit(values, sizes, read_as)
    corners = _corners(values, read_as)
    touching = ((corners[:, 2:] >= sizes - 0.5) | (corners[:, :2] <= 0.5)).any(axis=1) | misfit
    many = misfit.mean() >= MANY or (touching.mean() >= TOUCHING and misfit.mean() >= SOME)
    if not many:
        return None
    for other in WRITTEN:
        if other == read_as or len(values) < FEWEST[other]:
            continue
        fitting = _fit(values, sizes, other).mean()
        if fitting >= FITTING:
            return (
                f"{int(misfit.sum())} of {len(values)} boxes do not fit their image as {WRITTEN[read_as]}, but"
                f" {'all' if fitting == 1 else 'nearly all'} do as {WRITTEN[other]}; expected {WRITTEN[read_as]}"
            )
    return None


def _corners(values: np.ndarray, form: str) -> np.ndarray:
    first, second = values[:, :2], values[:, 2:]
    if form == "corners":
        return values
    if form == "size":
        return np.concatenate([first, first + second], axis=1)
    return np.concatenate([first - second / 2, first + second / 2], axis=1)


def _fit(values: np.ndarray, sizes: np.ndarray, form: str) -> np.ndarray:
    """Which boxes have an extent and lie inside their image."""
    corners, slack = _corners(values, form), MARGIN * sizes + 1
    inside = (corners[:, :2] >= -slack) & (corners[:, 2:] <= sizes + slack)
    return (inside & (corners[:, 2:] > corners[:, :2])).all(axis=1)
