"""Everything between a source of images and the batch that a model receives; NumPy and Pillow only.

The data's way:

1. `build.build(config, out)` turns a source (`synthetic`, `coco`, `voc`, `yolo`) into the neutral dataset folder:
   `annotations/train.json` and `val.json` in COCO format, `images/<split>/`, and `manifest.json` with ids, sums and
   counts. `synthetic` draws images, `voc` and `yolo` convert annotations, `subset` picks images, `manifest` describes
   what lies there. `check` (`check_annotations`, `check_images`) drops what cannot be used, stops where training would
   be in vain, and reports both in `check.md`.
2. `coco.open_split(root, split, label_space)` reads one split into a `Dataset`: images with their training boxes,
   categories, and the map between category ids and the class indices of the model's head.
3. `plan.BatchPlan` says which image ids form step s of epoch e, and at which size, as a pure function of its seed.
4. `loader.Loader` decodes, augments (`chains`: one per model family), preprocesses (`transforms`, on Pillow or on
   OpenCV's arithmetic in `resample`) and collates into `parity.framework.Batch`. Augmentation depends on
   (seed, epoch, image id) alone, so neither the number of threads nor the framework that asks changes a batch.

Boxes are absolute xyxy pixels everywhere between `Dataset` and `Batch`; xywh exists only inside COCO files.
"""
