"""A sheet of validation images: their objects on the left, the detections on the right."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from parity.data.coco import Dataset, ImageRecord
from parity.data.entries import ResultEntry
from parity.data.loader import decode
from parity.draw.boxes import beside, draw, stacked
from parity.draw.fonts import font_for

IMAGES = 4
CELL = 320  # pixels of the longer side of an image on the sheet
LETTERS = 12  # their height in pixels
GAP = 4  # pixels between cells

T = TypeVar("T")


def evenly(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, evenly spaced, so that nobody picks the pretty ones."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


class Sheet:
    """The same images of a dataset, drawn again with new detections.

    They are evenly spaced among those that show an object, and are read once. `say` is told when class names cannot be
    written. Raises UserError when an image cannot be read.
    """

    def __init__(self, dataset: Dataset, say: Callable[[str], None], images: int = IMAGES):
        self.names = {category.id: category.name for category in dataset.categories}
        category_of = dataset.category_of
        with_objects = [image for image in dataset.images.values() if len(image.boxes)]
        chosen = evenly(with_objects or list(dataset.images.values()), images)
        self.rows = [_Row(image, category_of) for image in chosen]
        self.font, complaint = font_for(self.names.values(), LETTERS)
        if complaint:
            say(complaint)

    def picture(self, found: Sequence[ResultEntry]) -> Image.Image:
        """The sheet for detections in COCO results format.

        Of each image as many detections are drawn as it has objects, those with the best scores. So a model that has
        learnt little still shows its best guesses and how sure it is. A limit on the score would leave nothing.
        """
        of_image: dict[int, list[ResultEntry]] = {row.id: [] for row in self.rows}
        for entry in found:
            if entry["image_id"] in of_image:
                of_image[entry["image_id"]].append(entry)
        return stacked([self._row(row, of_image[row.id]) for row in self.rows], GAP)

    def _row(self, row: "_Row", found: list[ResultEntry]) -> Image.Image:
        best = sorted(found, key=lambda entry: -entry["score"])[: max(1, len(row.truth))]
        shown = [(row.truth, f"objects: {len(row.truth)}"), (best, f"best detections: {len(best)}")]
        cells = [draw(row.pixels, row.shrunk(entries), self.names, self.font, title) for entries, title in shown]
        return beside(cells, GAP)


class _Row:
    """One image at the size of a cell, and its objects as entries without a score."""

    def __init__(self, image: ImageRecord, category_of: Mapping[int, int]):
        whole = Image.fromarray(decode(image.path, image.white))
        self.id, self.scale = image.id, CELL / max(whole.size)
        size = tuple(max(1, round(side * self.scale)) for side in whole.size)
        self.pixels = np.asarray(whole.resize(size, Image.Resampling.BILINEAR))
        self.truth = [
            {"category_id": category_of[int(label)], "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for (x1, y1, x2, y2), label in zip(image.boxes.tolist(), image.labels, strict=True)
        ]

    def shrunk(self, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Entries with their boxes at the scale of the cell."""
        return [{**entry, "bbox": [side * self.scale for side in entry["bbox"]]} for entry in entries]
