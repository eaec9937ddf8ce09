"""A sheet of training samples as the network receives them, with their boxes, to look at before hours of training.

A row is an image: first as validation sees it, then as several epochs do. The tensors are turned back into colours, so
that a wrong order of channels, a shifted box or too strong an augmentation shows.
"""

import colorsys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from parity.config.run import BatchConfig
from parity.data.chains import make_augment
from parity.data.coco import open_split
from parity.data.fonts import Lettering, lettering
from parity.data.loader import Loader
from parity.data.plan import BatchPlan
from parity.data.transforms import Preprocess, make_preprocess

CELL, GAP, HEADER, FONT = 240, 6, 18, 11  # pixels


def sheet(settings: BatchConfig, images: int, epochs: int) -> Image.Image:
    """The sheet of `images` rows and 1 + `epochs` columns.

    Multi-scale sizes that a whole batch shares are drawn per batch as in training, with batches of one image.
    """
    dataset = open_split(settings.data.root, "train", settings.label_space)
    preprocess, train = make_preprocess(settings.preprocess.plain()), settings.train
    plan = BatchPlan(dataset.ids, 1, epochs, settings.seed, sizes=train.multi_scale)
    loader = Loader(dataset, plan, preprocess, make_augment(train.augment), settings.seed, workers=0)
    shown = sorted(ids[0] for ids in plan.epoch_ids(1)[:images])
    canvas = Image.new("RGB", ((1 + epochs) * (CELL + GAP) + GAP, len(shown) * (CELL + GAP) + HEADER + GAP), "white")
    write = ImageDraw.Draw(canvas)
    for column, title in enumerate(["validation", *(f"epoch {epoch}" for epoch in range(1, epochs + 1))]):
        write.text((GAP + column * (CELL + GAP), 3), title, fill="black", font=ImageFont.load_default())
    letters = lettering(dataset.class_names)
    for row, identity in enumerate(shown):
        batches = [loader.eval_batch([identity])]
        for epoch in range(1, epochs + 1):
            step = [ids[0] for ids in plan.epoch_ids(epoch)].index(identity)
            batches.append(next(loader.batches(epoch, start_step=step)))
        for column, batch in enumerate(batches):
            cell = picture(batch.images[0], batch.boxes, batch.labels, letters, preprocess)
            canvas.paste(cell, (GAP + column * (CELL + GAP), HEADER + row * (CELL + GAP)))
    return canvas


def picture(
    tensor: np.ndarray, boxes: np.ndarray, labels: np.ndarray, letters: Lettering, preprocess: Preprocess
) -> Image.Image:
    """One sample [3, h, w] with its boxes, shrunk or enlarged to fit a cell."""
    image = Image.fromarray(colours(tensor, preprocess))
    scale = CELL / max(image.size)
    image = image.resize(tuple(max(1, round(side * scale)) for side in image.size), Image.Resampling.BILINEAR)
    write = ImageDraw.Draw(image)
    font = ImageFont.truetype(letters.file, FONT)
    for box, label in zip(boxes * scale, labels, strict=True):
        hue = int(label) * 0.618 % 1  # the golden ratio keeps neighbouring classes apart
        colour = tuple(int(255 * value) for value in colorsys.hsv_to_rgb(hue, 1.0, 1.0))
        write.rectangle(tuple(float(v) for v in box), outline=colour, width=2)
        write.text((float(box[0]) + 3, float(box[1]) + 2), letters.names[int(label)], fill=colour, font=font)
    return image


def colours(tensor: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """uint8 [h, w, 3] RGB of a tensor [3, h, w]: black, white and red show how to undo the preprocess."""
    pixels = np.asarray([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    black, white, red = preprocess.finish(pixels)[:, 0].T
    values = (tensor - black[:, None, None]) / (white - black)[:, None, None]
    if abs(red[0] - white[0]) > abs(red[0] - black[0]):  # the first channel is not red, so it is blue
        values = values[::-1]
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
