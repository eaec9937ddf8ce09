"""Detect objects with an exported model. Needs onnxruntime, NumPy and Pillow, and nothing of this project.

    python onnx_detect.py nanodet-plus-m_320.onnx photo.jpg more/*.jpg
    python onnx_detect.py nanodet-plus-m_320.onnx photo.jpg --conf 0.3 --out found.json

The file says in its metadata how an image becomes its input and what its classes are called. Boxes are those of
`make detect` (a test compares them): the two resamplers of OpenCV are therefore written out here, as Pillow's gives
other pixels. Take this file as a start for a program of your own; `Model` is all of it.
"""

import argparse
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


class Model:
    """An exported file with post-processing: image in, boxes out."""

    def __init__(self, path: str):
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.about = self.session.get_modelmeta().custom_metadata_map
        if self.about.get("outputs") != "detections":
            raise ValueError(f"{path}: holds no detections, expected a file without -raw in its name")
        self.preprocess = json.loads(self.about["preprocess"])
        self.classes = {entry["label"]: entry for entry in json.loads(self.about["classes"])}
        self.most = int(self.about["max_detections"])
        self.batch = 1 if self.about["batch"] == "any" else int(self.about["batch"])

    def detect(self, image: np.ndarray, conf: float = 0.5) -> list[dict]:
        """Objects on an image, uint8 [H, W, 3] RGB: class, score from 0 to 1, box [x, y, width, height] in pixels."""
        tensor, size = prepare(image, self.preprocess)
        given = {"images": np.repeat(tensor, self.batch, 0), "sizes": np.repeat([size], self.batch, 0).astype(np.int64)}
        boxes, scores, labels, counts = (part[0] for part in self.session.run(None, given))
        down, across = image.shape[0] / size[0], image.shape[1] / size[1]
        boxes = boxes[:counts].astype(np.float64) * [across, down, across, down]
        found = []
        for (x1, y1, x2, y2), score, label in list(zip(boxes, scores, labels, strict=False))[: self.most]:
            if score >= conf and label in self.classes:  # DETR has labels without a class
                box = [round(float(value), 3) for value in (x1, y1, x2 - x1, y2 - y1)]
                entry = self.classes[label]
                found.append({"category_id": entry["id"], "name": entry["name"], "bbox": box, "score": float(score)})
        return found


def prepare(image: np.ndarray, how: dict) -> tuple[np.ndarray, tuple[int, int]]:
    """uint8 [H, W, 3] RGB -> float32 [1, 3, h, w], padded, and the (height, width) inside the padding."""
    pixels = RESIZE[how["resize"]](image, how)
    if how["channels"] == "BGR":
        pixels = pixels[:, :, ::-1]
    values = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(how["divide"])
    values -= column(how["mean"])
    values = values * column(how["factor"]) if "factor" in how else values / column(how["deviation"])
    height, width = values.shape[1:]
    multiple = how.get("pad_multiple", 1)
    padded = np.zeros((1, 3, -(-height // multiple) * multiple, -(-width // multiple) * multiple), np.float32)
    padded[0, :, :height, :width] = values
    return padded, (height, width)


def column(values: list) -> np.ndarray:
    """Three numbers, one per channel, as they act on [3, H, W]."""
    return np.asarray(values, np.float32)[:, None, None]


def square(image: np.ndarray, how: dict) -> np.ndarray:
    """Pillow's resize to size x size."""
    return pillow(image, how["size"], how["size"])


def short_side(image: np.ndarray, how: dict) -> np.ndarray:
    """Pillow's resize until the short side is `size`, unless the long side would pass `max_size`."""
    height, width = image.shape[:2]
    size, short, long = how["size"], min(height, width), max(height, width)
    if long / short * size > how["max_size"]:
        size = round(how["max_size"] * short / long)
    if short == size:
        return image
    if width < height:
        return pillow(image, int(size * height / width), size)
    return pillow(image, size, int(size * width / height))


def pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def keep_ratio(image: np.ndarray, how: dict) -> np.ndarray:
    """cv2.resize until the image just fits into `size` (short side) x `max_size` (long side)."""
    height, width = image.shape[:2]
    factor = min(how["max_size"] / max(height, width), how["size"] / min(height, width))
    target = max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))
    return image if target == (height, width) else resize_linear(image, target)


def resize_linear(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """cv2.resize with INTER_LINEAR, in its fixed point of 11 bits."""
    height, width = image.shape[:2]
    pixels = image.astype(np.int32)
    if (height, width) == (2 * size[0], 2 * size[1]):  # exactly one half: OpenCV takes the mean of 2 x 2 pixels
        rows = pixels[0::2] + pixels[1::2]
        return ((rows[:, 0::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)
    left, right, weights = taps(width, size[1])
    weights[:, (left < 0) | (right > width - 1)] = [[2048], [0]]
    left, right = left.clip(0, width - 1), right.clip(0, width - 1)
    rows = (pixels[:, left] * weights[0][:, None] + pixels[:, right] * weights[1][:, None]) >> 4
    upper, lower, weights = taps(height, size[0])
    above = rows[upper.clip(0, height - 1)] * weights[0][:, None, None]
    below = rows[lower.clip(0, height - 1)] * weights[1][:, None, None]
    return (((above >> 16) + (below >> 16) + 2) >> 2).astype(np.uint8)


def taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both neighbours of every target pixel along one axis, and their weights."""
    position = ((np.arange(target) + 0.5) * (1.0 / (target / source)) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    part = position - first.astype(np.float32)
    return first, first + 1, np.rint(np.stack([np.float32(1) - part, part]) * np.float32(2048)).astype(np.int32)


def warp(image: np.ndarray, how: dict) -> np.ndarray:
    """cv2.warpPerspective to size x size, which maps pixel index to pixel index, in its steps of 1/32 pixel."""
    size = how["size"]
    high, wide = size / image.shape[0], size / image.shape[1]
    inverse = 1.0 / (wide * high)
    pixels = np.pad(image, ((1, 1), (1, 1), (0, 0))).astype(np.int32)  # black beyond the last pixel
    first, second, part = warp_taps(high * inverse, image.shape[1], size, block=64)
    rows = pixels[:, first] * (32 - part[:, None]) + pixels[:, second] * part[:, None]
    first, second, part = warp_taps(wide * inverse, image.shape[0], size, block=1)
    part = part[:, None, None]
    return ((rows[first] * (32 - part) + rows[second] * part + 512) // 1024).astype(np.uint8)


def warp_taps(factor: float, source: int, target: int, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours along one axis of the image padded by one pixel, and the weight of the second in 1/32."""
    index = np.arange(target)
    start = index // block * block
    position = (factor * start + factor * (index - start)) * 32
    position = np.rint(position.clip(-64.0, 32.0 * (source + 1))).astype(np.int64)
    before = position // 32
    return before.clip(-1, source) + 1, (before + 1).clip(-1, source) + 1, position % 32


RESIZE = {"square": square, "warp": warp, "short_side": short_side, "keep_ratio": keep_ratio}


def read(path: str) -> np.ndarray:
    """An image file as uint8 [H, W, 3] RGB, turned as its EXIF data say."""
    with Image.open(path) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Detect objects with an exported model.")
    parser.add_argument("model", help="an exported file, <model>-<variant>.onnx")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--conf", type=float, default=0.5, help="lowest score; 0.5")
    parser.add_argument("--out", help="a JSON file for what was found, in COCO's format of results")
    options = parser.parse_args()
    model, results = Model(options.model), []
    for number, path in enumerate(options.images, 1):
        found = model.detect(read(path), options.conf)
        for entry in found:
            x, y, width, height = entry["bbox"]
            print(f"{path}: {entry['name']} {entry['score']:.2f} at {x:.0f}, {y:.0f}, {width:.0f} x {height:.0f}")
        results += [{"image_id": number, "file_name": path, **entry} for entry in found]
    if options.out:
        with open(options.out, "w") as handle:
            json.dump(results, handle)
    print(f"{len(options.images)} images, {len(results)} objects with score >= {options.conf:g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
