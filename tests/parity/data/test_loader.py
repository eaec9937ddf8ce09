import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from parity.data.chains import make_augment
from parity.data.coco import open_split
from parity.data.loader import ImageCache, Loader, batch_digest, decode
from parity.data.plan import BatchPlan
from parity.data.transforms import make_preprocess, scale_boxes
from parity.errors import UserError

ALL = {"photometric": 0.5, "zoom_out": 0.5, "iou_crop": 0.8, "flip": 0.5, "min_box": 1}


def make(root, sizes=(), augment=ALL, split="train", **options):
    dataset = open_split(root, split)
    plan = BatchPlan(dataset.ids, 4, 3, seed=0, sizes=sizes)
    return Loader(dataset, plan, make_preprocess({"kind": "square", "size": 64}), make_augment(augment), 11, **options)


def digests(batches):
    return [batch_digest(batch) for batch in batches]


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("loader")]


def test_batches_do_not_depend_on_workers_or_on_the_cache(shapes):
    reference = digests(make(shapes, workers=0).batches(1))
    assert len(set(reference)) == 3
    for workers, prefetch, cache in ((1, 1, 0), (2, 4, 1 << 20), (5, 2, 30_000)):
        loader = make(shapes, workers=workers, prefetch=prefetch, cache_bytes=cache)
        assert digests(loader.batches(1)) == reference
        assert digests(loader.batches(1)) == reference
        assert loader.cache.used <= cache
    assert digests(make(shapes).batches(2)) != reference


def test_starting_in_the_middle_gives_the_rest_of_the_epoch(shapes):
    whole = digests(make(shapes, sizes=[32, 64, 96]).batches(2))
    assert digests(make(shapes, sizes=[32, 64, 96]).batches(2, start_step=1)) == whole[1:]
    assert digests(make(shapes).batches(2, start_step=3)) == []


def test_a_batch_is_what_its_documentation_says(shapes):
    loader = make(shapes, augment={})
    batch, ids = next(iter(loader.batches(1))), loader.plan.epoch_ids(1)[0]
    records = [loader.dataset.images[i] for i in ids]
    assert batch.images.shape == (4, 3, 64, 64) and batch.images.dtype == np.float32
    assert batch.images.min() >= 0 and batch.images.max() <= 1
    np.testing.assert_array_equal(batch.image_ids, ids)
    np.testing.assert_array_equal(batch.sizes, [[64, 64]] * 4)
    np.testing.assert_array_equal(batch.original, [[r.height, r.width] for r in records])
    for (boxes, labels), record in zip(batch.targets(), records, strict=True):
        np.testing.assert_array_equal(labels, record.labels)
        np.testing.assert_array_equal(boxes, scale_boxes(record.boxes, (record.height, record.width), (64, 64)))
    dtypes = [getattr(batch, n).dtype for n in ("sizes", "boxes", "labels", "counts", "image_ids", "original")]
    assert dtypes == [np.int64, np.float32, np.int64, np.int64, np.int64, np.int64]


def test_multi_scale_resizes_images_and_boxes(shapes):
    fixed, scaled = make(shapes), make(shapes, sizes=[32, 96])
    seen = set()
    for step, (a, b) in enumerate(zip(fixed.batches(1), scaled.batches(1), strict=True)):
        size = scaled.plan.size(1, step)
        seen.add(size)
        assert b.images.shape[2:] == (size, size) and (b.sizes == size).all()
        np.testing.assert_allclose(b.boxes, a.boxes * (size / 64), rtol=1e-6)
        if size == 32:
            np.testing.assert_array_equal(b.images, a.images[:, :, ::2, ::2])
    assert seen == {32, 96}


def test_evaluation_sees_every_image_once_without_augmentation(shapes):
    loader = Loader(open_split(shapes, "val"), None, make_preprocess({"kind": "square", "size": 64}))
    batches = list(loader.eval_batches(2))
    assert [len(b.images) for b in batches] == [2, 2, 1]
    assert np.concatenate([b.image_ids for b in batches]).tolist() == loader.dataset.ids
    assert batch_digest(loader.eval_batch(loader.dataset.ids[:2])) == batch_digest(batches[0])


def test_augmentation_belongs_to_the_image_not_to_its_place(shapes):
    """The same image in another batch of the same epoch is augmented the same."""
    dataset, preprocess = open_split(shapes, "train"), make_preprocess({"kind": "square", "size": 64})
    found = []
    for batch_size in (1, 7):
        plan = BatchPlan(dataset.ids, batch_size, 1, seed=0)
        loader = Loader(dataset, plan, preprocess, make_augment(ALL), seed=3)
        found.append({int(i): x for b in loader.batches(1) for i, x in zip(b.image_ids, b.images, strict=True)})
    assert found[0].keys() == found[1].keys()
    assert all(np.array_equal(found[0][i], found[1][i]) for i in found[0])


class Half:
    """A preprocess that follows the image, to see padding."""

    fixed_size, pad_multiple = None, 1

    def __call__(self, image, boxes):
        return (image[::2, ::2].transpose(2, 0, 1) / 255).astype(np.float32), boxes / 2


def test_different_sizes_are_padded_with_zeros_at_the_bottom_and_right(shapes):
    dataset = open_split(shapes, "val")
    batch = Loader(dataset, None, Half()).eval_batch(dataset.ids)
    assert len({tuple(size) for size in batch.sizes}) > 1
    assert batch.images.shape[2:] == tuple(batch.sizes.max(axis=0))
    for image, (height, width), record in zip(batch.images, batch.sizes, dataset.images.values(), strict=True):
        expected = (decode(record.path)[::2, ::2].transpose(2, 0, 1) / 255).astype(np.float32)
        np.testing.assert_array_equal(image[:, :height, :width], expected)
        assert not image[:, height:].any() and not image[:, :, width:].any()


def test_batches_are_padded_to_a_multiple(shapes):
    dataset = open_split(shapes, "val")
    preprocess = make_preprocess({"kind": "keep_ratio", "size": 50, "max_size": 70, "pad_multiple": 32})
    batch = Loader(dataset, None, preprocess).eval_batch(dataset.ids)
    assert batch.images.shape[2:] == tuple(-(-side // 32) * 32 for side in batch.sizes.max(axis=0))
    assert batch.sizes.min() <= 50 < 64 and batch.sizes.max() <= 70
    for image, (height, width), record in zip(batch.images, batch.sizes, dataset.images.values(), strict=True):
        assert not image[:, height:].any() and not image[:, :, width:].any() and image[:, :height, :width].any()
        alone, _ = preprocess(decode(record.path), record.boxes)
        np.testing.assert_array_equal(image[:, :height, :width], alone)


def test_multi_scale_needs_one_size_for_all(shapes):
    dataset = open_split(shapes, "train")
    with pytest.raises(UserError, match=r"train\.multi_scale"):
        Loader(dataset, BatchPlan(dataset.ids, 4, 1, 0, sizes=[32]), Half())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_named(shapes, tmp_path, workers):
    root = tmp_path / "broken"
    shutil.copytree(shapes, root)
    dataset = open_split(root, "train")
    victim = dataset.images[make(root).plan.epoch_ids(1)[1][2]].path
    for content, message in ((victim.read_bytes()[:200], "cannot be read as an image"), (b"", "cannot be read")):
        victim.write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            list(make(root, workers=workers).batches(1))
        assert str(victim) in str(caught.value)
    Image.new("RGB", (5, 5)).save(victim)
    with pytest.raises(UserError, match=r"is 5x5 pixels, train.json says"):
        list(make(root, workers=workers).batches(1))
    assert loader_threads() == []


def test_a_bug_in_a_worker_names_the_image_too(shapes):
    loader = make(shapes)
    loader.preprocess = lambda image, boxes: 1 / 0
    with pytest.raises(RuntimeError, match=r"\.png: preparing this image failed: division by zero"):
        next(iter(loader.batches(1)))


def test_threads_end_with_the_iterator(shapes):
    batches = make(shapes, workers=3).batches(1)
    assert loader_threads() == []
    next(batches)
    assert loader_threads()
    batches.close()
    assert loader_threads() == []


def test_grey_and_palette_images_become_rgb(tmp_path):
    for mode in ("L", "P", "RGBA", "1", "CMYK"):
        path = tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}"
        Image.new(mode, (7, 5)).save(path)
        assert decode(path).shape == (5, 7, 3) and decode(path).dtype == np.uint8


def test_the_cache_stops_at_its_limit(tmp_path):
    cache, image = ImageCache(250), np.zeros((10, 10, 1), np.uint8)
    for name in "abcb":
        cache.put(tmp_path / name, image)
    assert cache.used == 200 and cache.get(tmp_path / "b") is image and cache.get(tmp_path / "c") is None
