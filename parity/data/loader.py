"""Decoding, augmenting, preprocessing and collating in worker threads, in an order that threads cannot change.

Threads, not processes: Pillow decodes and resizes outside the interpreter lock, and Jittor does not survive a fork.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from parity.data.chains import Chain
from parity.data.coco import Dataset, ImageRecord
from parity.data.depth import is_deep, kind_of, largest_value, to_eight_bits, white_of
from parity.data.plan import AUGMENT, BatchPlan, generator
from parity.data.transforms import Preprocess, resize_nearest, scale_boxes
from parity.errors import UserError
from parity.framework import Batch

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]  # image [3, h, w], boxes [n, 4], labels [n]


class ImageCache:
    """Decoded images (uint8 [H, W, 3]) up to a limit of bytes.

    Nothing is ever thrown out: an epoch visits every image once, so replacing the oldest would miss each time.
    """

    def __init__(self, limit_bytes: int):
        self.limit, self.used = int(limit_bytes), 0
        self._images: dict[Path, np.ndarray] = {}
        self._lock = threading.Lock()

    def get(self, path: Path) -> np.ndarray | None:
        return self._images.get(path)

    def put(self, path: Path, image: np.ndarray) -> None:
        with self._lock:
            if path not in self._images and self.used + image.nbytes <= self.limit:
                self._images[path] = image
                self.used += image.nbytes


def decode(path: Path, white: float | None = None) -> np.ndarray:
    """The image file as uint8 [H, W, 3] RGB, read-only. EXIF orientation is ignored, as in the official pipelines.

    `white` is the value that becomes 255 in a file of more than 8 bits; None takes the range that fits this file alone.
    """
    try:
        with Image.open(path) as picture:
            if is_deep(picture):
                kind = kind_of(picture.mode)
                picture = to_eight_bits(picture, white or white_of(largest_value(picture), kind))
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as an image: {error}") from error


class Loader:
    """Batches of one split.

    `plan`, `augment` and `seed` matter to `batches` (training) only. `workers` threads keep up to `prefetch` batches
    ready; 0 workers build each batch when it is asked for. `cache_bytes` bounds the decoded images that are kept.
    """

    def __init__(
        self,
        dataset: Dataset,
        plan: BatchPlan | None,
        preprocess: Preprocess,
        augment: Chain | None = None,
        seed: int = 0,
        workers: int = 2,
        prefetch: int = 4,
        cache_bytes: int = 512 << 20,
    ):
        if plan is not None and plan.sizes and preprocess.fixed_size is None:
            raise UserError("train.multi_scale: needs a preprocess that gives every image the same size")
        takes = augment.takes if augment is not None else None
        if takes is not None and not isinstance(preprocess, takes):
            found, expected = type(preprocess).__name__, takes.__name__
            raise UserError(f"train.augment.kind: does not fit preprocess.kind, found {found}, expected {expected}")
        self.dataset, self.plan, self.preprocess, self.augment = dataset, plan, preprocess, augment
        self.seed = int(seed)
        self.workers, self.prefetch = max(0, int(workers)), max(1, int(prefetch))
        self.cache = ImageCache(cache_bytes)

    # ---- streams
    def batches(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The training batches of one epoch from `start_step` on, in the order of the plan."""
        steps = list(enumerate(self.plan.epoch_ids(epoch)))[start_step:]
        jobs = ((lambda step=step, ids=ids: self._train_batch(epoch, step, ids)) for step, ids in steps)
        return self._stream(jobs)

    def eval_batches(self, batch_size: int) -> Iterator[Batch]:
        """All images of the split in the order of their ids, without augmentation; the last batch may be smaller."""
        ids = self.dataset.ids
        chunks = [ids[i : i + batch_size] for i in range(0, len(ids), batch_size)]
        return self._stream((lambda chunk=chunk: self.eval_batch(chunk)) for chunk in chunks)

    def _stream(self, jobs: Iterable[Callable[[], Batch]]) -> Iterator[Batch]:
        """Run jobs ahead in threads and yield their results in order; closing the iterator ends the threads."""
        if self.workers == 0:
            yield from (job() for job in jobs)
            return
        jobs, pending = iter(jobs), deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        try:
            while True:
                while len(pending) < self.prefetch and (job := next(jobs, None)) is not None:
                    pending.append(pool.submit(job))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    # ---- single batches
    def _train_batch(self, epoch: int, step: int, ids: list[int]) -> Batch:
        batch = self._collate(ids, [self._sample(self.dataset.images[i], epoch) for i in ids])
        size = self.plan.size(epoch, step)
        if size is not None:
            batch.boxes = scale_boxes(batch.boxes, batch.images.shape[2:], (size, size))
            batch.images = resize_nearest(batch.images, size)
            batch.sizes = np.full_like(batch.sizes, size)
        return batch

    def eval_batch(self, ids: list[int]) -> Batch:
        """One batch without augmentation, built in the calling thread."""
        return self._collate(ids, [self._sample(self.dataset.images[i], None) for i in ids])

    def _sample(self, record: ImageRecord, epoch: int | None) -> Sample:
        """Augmented (training) or plain (epoch None) tensor with its targets."""
        try:
            image, boxes, labels = self._decoded(record), record.boxes, record.labels
            if epoch is not None and self.augment is not None:
                rng = generator(self.seed, epoch, record.id, AUGMENT)
                return self.augment.prepare((image, boxes, labels), rng, self.preprocess)
            return *self.preprocess(image, boxes), labels
        except UserError:
            raise
        except Exception as error:
            raise RuntimeError(f"{record.path}: preparing this image failed: {error}") from error

    def _decoded(self, record: ImageRecord) -> np.ndarray:
        image = self.cache.get(record.path)
        if image is None:
            image = decode(record.path, record.white)
            if image.shape[:2] != (record.height, record.width):
                found, said = f"{image.shape[1]}x{image.shape[0]}", f"{record.width}x{record.height}"
                raise UserError(f"{record.path}: is {found} pixels, {self.dataset.annotations.name} says {said}")
            self.cache.put(record.path, image)
        return image

    def _collate(self, ids: list[int], samples: list[Sample]) -> Batch:
        """Stack with zeros at the bottom and right, up to the largest sides and a multiple of `pad_multiple`."""
        sizes = np.asarray([tensor.shape[1:] for tensor, _, _ in samples], np.int64)
        multiple = self.preprocess.pad_multiple
        images = np.zeros((len(samples), 3, *(-(-sizes.max(axis=0) // multiple) * multiple)), np.float32)
        for target, (tensor, _, _) in zip(images, samples, strict=True):
            target[:, : tensor.shape[1], : tensor.shape[2]] = tensor
        records = [self.dataset.images[i] for i in ids]
        return Batch(
            images=images,
            sizes=sizes,
            boxes=np.concatenate([boxes for _, boxes, _ in samples]).astype(np.float32),
            labels=np.concatenate([labels for _, _, labels in samples]).astype(np.int64),
            counts=np.asarray([len(labels) for _, _, labels in samples], np.int64),
            image_ids=np.asarray(ids, np.int64),
            original=np.asarray([(r.height, r.width) for r in records], np.int64),
        )


def batch_digest(batch: Batch) -> str:
    """SHA-256 (hex) of everything in a batch."""
    sha = hashlib.sha256()
    for name in ("images", "sizes", "boxes", "labels", "counts", "image_ids"):
        array = np.ascontiguousarray(getattr(batch, name))
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()
