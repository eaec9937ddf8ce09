"""The verb `detect`: boxes on the user's own images, drawn and as COCO results."""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from parity.data.transforms import make_preprocess
from parity.detect import sources
from parity.detect.model import Detector, load, of_run, of_weights
from parity.draw import boxes, fonts
from parity.errors import UserError
from parity.files import atomic, write_json
from parity.framework import Batch, Framework
from parity.train.evaluate import to_coco


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, help="Folder of a finished run, whose final weights detect.")
    parser.add_argument("--weights", type=Path, help="A weight file instead, in any format that convert reads.")
    parser.add_argument("--model", help="With --weights: the detector, for example nanodet.")
    parser.add_argument("--variant", help="With --weights: its variant, for example plus-m_320.")
    parser.add_argument("--names", type=Path, help="With --weights: a file with class names; COCO's 80 by default.")
    parser.add_argument("--source", nargs="+", required=True, help="Images, folders, patterns, videos, camera numbers.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for the drawn pictures and detections.json.")
    parser.add_argument("--conf", type=float, default=0.5, help="Lowest score that is drawn and written; 0.5.")
    parser.add_argument("--frames", type=int, help="Stop each video or camera after so many frames.")
    parser.add_argument("--ops", choices=["fast", "stock"], default="fast", help="Jittor's operators on a CPU.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<number>.")
    parser.add_argument("--threads", type=int, help="CPU threads; what the machine offers by default.")


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb. Files that cannot be read are named at the end; the others are done.

    Raises UserError when there is nothing to detect on, or when no file could be read.
    """
    if not 0 <= args.conf <= 1:
        raise UserError(f"--conf: {args.conf} is no score, expected a number from 0 to 1")
    detector = chosen(args)
    found = sources.find(args.source)
    options = {"ops": args.ops} if framework_class.name == "jittor" else {}
    framework = framework_class(args.device, args.threads, options)
    absent = load(framework, detector)
    if absent:
        print(f"{detector.weights}: {len(absent)} tensors that only training uses are not in the file", file=sys.stderr)
    work = Work(framework, detector, args.out, args.conf)
    for path in tqdm(found.images, unit="image", disable=len(found.images) < 2 or not sys.stderr.isatty()):
        try:
            work.image(path)
        except UserError as error:
            found.missing.append((str(path), str(error).removeprefix(f"{path}: ")))
    for source in found.videos:
        try:
            work.video(source, args.frames)
        except UserError as error:
            found.missing.append((source, str(error).removeprefix(f"{source}: ")))
    work.finish(found.missing)


def chosen(args: argparse.Namespace) -> Detector:
    """The detector that the arguments name; raises UserError unless it is one run or one file."""
    if args.run is not None:
        return of_run(args.run, args.weights)
    if args.weights is None:
        raise UserError("detect: expected --run FOLDER, or --weights FILE with --model")
    if args.model is None:
        raise UserError("detect: --weights needs --model, for example --model nanodet --variant plus-m_320")
    return of_weights(args.weights, args.model, args.variant, args.names)


class Work:
    """Detection on one image after the other; everything that was found, to be written at the end."""

    def __init__(self, framework: Framework, detector: Detector, out: Path, conf: float):
        self.framework, self.detector, self.out, self.conf = framework, detector, out, conf
        self.preprocess = make_preprocess(detector.config.preprocess.plain())
        self.images: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.complaints: dict[str, None] = {}
        out.mkdir(parents=True, exist_ok=True)

    def detect(self, name: str, image: np.ndarray) -> list[dict[str, Any]]:
        """Detections on an upright image (uint8 [H, W, 3]) in COCO results format, with the image's name."""
        number = len(self.images) + 1
        begun = time.perf_counter()
        batch = one_image(image, self.preprocess, number)
        found = self.framework.predict(batch)
        self.framework.synchronize()
        seconds = time.perf_counter() - begun
        entries = to_coco(
            found, batch, self.detector.category_of, self.detector.max_detections, score_threshold=self.conf
        )
        entries = [entry | {"file_name": name} for entry in entries]
        height, width = image.shape[:2]
        self.images.append({"id": number, "file_name": name, "width": width, "height": height, "seconds": seconds})
        self.results += entries
        return entries

    def drawn(self, image: np.ndarray, entries: list[dict[str, Any]]) -> Image.Image:
        """The picture of an image with its detections."""
        font, complaint = fonts.font_for(self.detector.names.values(), boxes.text_size(image))
        if complaint:
            self.complaints[complaint] = None
        return boxes.draw(image, entries, self.detector.names, font)

    def image(self, path: Path) -> None:
        """Detect on an image file and draw it into `out`, under its own name or a numbered one if that is taken."""
        image = sources.read_upright(path)
        picture = self.drawn(image, self.detect(str(path), image))
        target = free(self.out / f"{path.stem}.png", [Path(entry.get("drawn", "")) for entry in self.images])
        self.images[-1]["drawn"] = str(target)
        with atomic(target) as temporary:
            picture.save(temporary, format="PNG")

    def video(self, source: str, limit: int | None) -> None:
        """Detect on every frame and write the drawn frames as a video."""
        cv2 = sources.opencv(source)
        capture, rate = sources.open_video(source)
        stem = f"camera{source}" if source.isdigit() else Path(source).stem
        target, writer, count = self.out / f"{stem}.mp4", None, 0
        with atomic(target) as temporary:
            try:
                for frame in self._until(sources.frames(capture), limit):
                    count += 1
                    picture = self.drawn(frame, self.detect(f"{source}#{count}", frame))
                    if writer is None:
                        size = picture.size
                        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
                    writer.write(np.asarray(picture)[:, :, ::-1])
            finally:
                if writer is not None:
                    writer.release()
            if not count:
                raise UserError(f"{source}: holds no frame that OpenCV can read")

    @staticmethod
    def _until(frames: Iterator[np.ndarray], limit: int | None) -> Iterator[np.ndarray]:
        for number, frame in enumerate(tqdm(frames, unit="frame", disable=not sys.stderr.isatty()), 1):
            yield frame
            if limit is not None and number >= limit:
                return

    def finish(self, missing: list[tuple[str, str]]) -> None:
        """Write detections.json and images.json, print the counts, name the files that could not be read.

        Raises UserError when nothing could be read at all.
        """
        for complaint in self.complaints:
            print(complaint, file=sys.stderr)
        if not self.images:
            raise UserError("; ".join(f"{name}: {reason}" for name, reason in missing))
        write_json(self.out / "detections.json", self.results, indent=None)
        classes = [{"id": key, "name": name} for key, name in sorted(self.detector.names.items())]
        write_json(
            self.out / "images.json",
            {"framework": self.framework.name, "conf": self.conf, "classes": classes, "images": self.images,
             "not_read": [{"name": name, "reason": reason} for name, reason in missing]},
        )  # fmt: skip
        print(self.summary())
        for name, reason in missing:
            print(f"not done: {name}: {reason}", file=sys.stderr)

    def summary(self) -> str:
        """Images, detections per class and time per image (the first apart: some work is done only once)."""
        seconds = [image["seconds"] for image in self.images]
        counts: dict[str, int] = {}
        for entry in self.results:
            name = self.detector.names[entry["category_id"]]
            counts[name] = counts.get(name, 0) + 1
        listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0])))
        later = f", then {1000 * float(np.median(seconds[1:])):.1f} ms per image (median)" if len(seconds) > 1 else ""
        return (
            f"{self.framework.name}: {len(self.images)} images, {len(self.results)} detections with score >="
            f" {self.conf:g}{': ' + listed if listed else ''}; {1000 * seconds[0]:.1f} ms for the first image{later}"
        )


def one_image(image: np.ndarray, preprocess, number: int) -> Batch:
    """A batch of one image (uint8 [H, W, 3]), resized and padded as in validation."""
    tensor, _ = preprocess(image, np.zeros((0, 4), np.float32))
    height, width = tensor.shape[1:]
    multiple = preprocess.pad_multiple
    padded = np.zeros((1, 3, -(-height // multiple) * multiple, -(-width // multiple) * multiple), np.float32)
    padded[0, :, :height, :width] = tensor
    return Batch(
        padded,
        np.array([[height, width]], np.int64),
        image_ids=np.array([number], np.int64),
        original=np.array([image.shape[:2]], np.int64),
    )


def free(path: Path, taken: list[Path]) -> Path:
    """`path`, or the same name with a number when this run has already drawn another image of that name."""
    candidate, number = path, 2
    while candidate in taken:
        candidate, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return candidate
