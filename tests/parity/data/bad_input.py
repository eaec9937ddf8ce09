"""Bad input, item by item: a good dataset, what is done to it, and what has to be said and done about that.

The cases are run by test_bad_input.py, and docs/bad-input.md is made from them:

    python -m tests.parity.data.bad_input        # from the root of the project, in the workflow's environment
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from parity.data.build import build
from parity.data.check import KINDS
from parity.errors import UserError
from parity.files import write_text

SIZE = (48, 32)
PAGE = Path(__file__).parents[3] / "docs/bad-input.md"


@dataclass(frozen=True)
class Case:
    """One thing that is done to a good dataset.

    `images` and `boxes` are what is left of the 6 and 6 of train, where the build goes on.
    """

    what: str
    spoil: Callable[[Path], object]
    kind: str | None  # of the problem; None where nothing is wrong
    words: str = ""  # in its message
    images: int = 6
    boxes: int = 6
    source: str = "coco"


def picture(seed: int) -> Image.Image:
    """A smooth image that no other seed resembles."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)


def good_coco(root: Path) -> None:
    """6 + 4 images of 48 x 32 with a box each, two classes, everything in order."""
    for split, count, first in (("train", 6, 1), ("val", 4, 11)):
        (root / split).mkdir(parents=True)
        document = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}
        for identity in range(first, first + count):
            picture(identity).save(root / split / f"{identity}.png")
            image = {"id": identity, "file_name": f"{identity}.png", "width": SIZE[0], "height": SIZE[1]}
            document["images"].append(image)
            box = {"bbox": [4, 5, 20, 10], "area": 200, "iscrowd": 0, "category_id": 1 + identity % 2}
            document["annotations"].append({"id": identity, "image_id": identity} | box)
        (root / f"{split}.json").write_text(json.dumps(document))


VOC_FILE = (
    "<annotation><filename>{name}.png</filename><size><width>48</width><height>32</height></size><object>"
    "<name>cat</name><bndbox><xmin>4</xmin><ymin>5</ymin><xmax>24</xmax><ymax>15</ymax></bndbox></object></annotation>"
)


def good_voc(root: Path) -> None:
    """The same images as Pascal VOC."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, numbers in (("train", range(1, 7)), ("val", range(11, 15))):
        for number in numbers:
            picture(number).save(root / f"JPEGImages/{number}.png")
            (root / f"Annotations/{number}.xml").write_text(VOC_FILE.format(name=number))
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{number}\n" for number in numbers))


def good_yolo(root: Path) -> None:
    """The same images as YOLO text."""
    for split, numbers in (("train", range(1, 7)), ("val", range(11, 15))):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for number in numbers:
            picture(number).save(root / f"images/{split}/{number}.png")
            (root / f"labels/{split}/{number}.txt").write_text(f"{number % 2} 0.3 0.3 0.4 0.3\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")


GOOD = {"coco": good_coco, "voc": good_voc, "yolo": good_yolo}


def settings(source: str, root: Path) -> dict:
    """The data configuration that reads what GOOD wrote."""
    found = {"name": "bad", "source": source, "root": str(root)}
    if source == "coco":
        places = {split: f"{split}.json" for split in ("train", "val")}
        found |= {"annotations": places, "images": {"train": "train", "val": "val"}}
    return found


# ---- what is done to it
def edit(root: Path, change: Callable[[dict], object], *splits: str) -> None:
    """Change the COCO documents of `splits`, train where none is named."""
    for split in splits or ("train",):
        path = root / f"{split}.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))


def entry(change: Callable[[dict], object], *splits: str) -> Callable[[Path], None]:
    return lambda root: edit(root, change, *splits)


def first_box(**values: object) -> Callable[[Path], None]:
    """Change keys of the first annotation of train; a value of `...` removes the key."""

    def change(document: dict) -> None:
        box = document["annotations"][0]
        box.update({key: value for key, value in values.items() if value is not ...})
        for key in (key for key, value in values.items() if value is ...):
            del box[key]

    return entry(change)


def first_image(**values: object) -> Callable[[Path], None]:
    return entry(lambda document: document["images"][0].update(values))


def every_box(**values: object) -> Callable[[Path], None]:
    return entry(lambda document: [box.update(values) for box in document["annotations"]])


def written(content: bytes, name: str = "train/1.png") -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(content)


def saved(make: Callable[[], Image.Image], *form: str, **options: object) -> Callable[[Path], None]:
    return lambda root: make().save(root / "train/1.png", *form, **options)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def link(name: str, target: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)

    return spoil


def nearly_the_same(root: Path) -> None:
    pixels = np.asarray(Image.open(root / "val/12.png")).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(root / "train/1.png")


def renamed(root: Path) -> None:
    name = "ö 图像 é.png"
    (root / "train/1.png").rename(root / "train" / name)
    edit(root, lambda document: document["images"][0].update(file_name=name))


def only_cats(document: dict) -> None:
    document["categories"].pop()
    for box in document["annotations"]:
        box["category_id"] = 1


def gap(document: dict) -> None:
    document["categories"].append({"id": 5, "name": "cow"})


def upright(root: Path) -> None:
    picture(1).save(root / "train/1.png", exif=turned(6))
    edit(root, lambda document: document["images"][0].update(width=SIZE[1], height=SIZE[0]))


def folder_loop(root: Path) -> None:
    (root / "images/train/again").symlink_to("..")


def corners(document: dict) -> None:
    """Write corners where width and height belong."""
    for box in document["annotations"]:
        x, y, width, height = box["bbox"]
        box["bbox"] = [x + 20, y + 12, x + 20 + width, y + 12 + height]


def hashes(document: dict) -> None:
    for values in (document["images"], document["annotations"]):
        for value in values:
            value["id"] += 2**64
            if "image_id" in value:
                value["image_id"] += 2**64


def numbered_by_name(root: Path) -> None:
    """Val has the same classes the other way round."""
    edit(root, lambda d: [c.update(id=3 - c["id"]) for c in d["categories"]], "val")
    edit(root, lambda d: [a.update(category_id=3 - a["category_id"]) for a in d["annotations"]], "val")


def below(root: Path) -> None:
    """The file names of another system: backslashes, and a blank as a web tool writes it."""
    (root / "train/cam 1").mkdir()
    (root / "train/1.png").rename(root / "train/cam 1/1.png")
    edit(root, lambda d: d["images"][0].update(file_name="cam%201\\1.png"))


def tiff(root: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(root / "train/1.tif")
    (root / "train/1.png").unlink()
    edit(root, lambda d: d["images"][0].update(file_name="1.tif"))


def labels(text: str) -> Callable[[Path], None]:
    """The same label file for every training image."""

    def spoil(root: Path) -> None:
        for number in range(1, 7):
            (root / f"labels/train/{number}.txt").write_text(text)

    return spoil


def pose(root: Path) -> None:
    labels("0 0.5 0.5 0.4 0.4 0.4 0.4 0.5 0.5 0.6 0.6\n")(root)
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\nkpt_shape: [3, 2]\n")


def moved_labels(root: Path) -> None:
    for number in (1, 2):
        (root / f"labels/train/{number}.txt").rename(root / f"labels/train/photo_{number}.txt")


def marks(root: Path) -> None:
    """Put a byte order mark in front of every text file."""
    for path in root.rglob("*"):
        if path.suffix in (".json", ".xml", ".txt", ".yaml"):
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def with_spaces(root: Path) -> None:
    for folder, suffix in (("Annotations", "xml"), ("JPEGImages", "png")):
        for path in list((root / folder).glob(f"*.{suffix}")):
            text = path.read_text().replace(".png", " (a).png") if suffix == "xml" else None
            path.rename(path.with_name(f"{path.stem} (a).{suffix}"))
            if text:
                path.with_name(f"{path.stem} (a).{suffix}").write_text(text)
    for split in ("train", "val"):
        path = root / f"ImageSets/Main/{split}.txt"
        path.write_text(path.read_text().replace("\n", " (a)\n"))


def listed_absolutely(root: Path) -> None:
    names = "".join(f"{root}/images/train/{number}.png\n" for number in range(1, 7))
    (root / "few.txt").write_text(names)
    (root / "data.yaml").write_text("train: few.txt\nval: ../val/images\nnames: [cat, dog]\n")
    (root / "val").mkdir()
    for folder in ("images", "labels"):
        (root / folder / "val").rename(root / "val" / folder)


GREY16 = np.full(SIZE[::-1], 4096, np.uint16)
BAD_EXIF = b"Exif\0\0II*\0\xff\xff\xff\xff"
RLE = {"size": [32, 48], "counts": [100, 50, 1386]}

CASES = [
    Case("nothing", lambda root: None, None),
    # image files
    Case("an image file that is none", written(b"hello"), "image unreadable", "is no image", 5, 5),
    Case("image cut short", lambda r: os.truncate(r / "train/1.png", 1000), "image unreadable", "decoded", 5, 5),
    Case("image of zero bytes", written(b""), "image unreadable", "is empty", 5, 5),
    Case("image missing", first_image(file_name="none.png"), "image missing", "there is no such file", 5, 5),
    Case("wrong extension", saved(lambda: picture(1), "JPEG"), "wrong extension", "is a JPEG file"),
    Case("grey image", saved(lambda: picture(1).convert("L")), "colour mode", "of mode L"),
    Case("palette image", saved(lambda: picture(1).convert("P")), "colour mode", "of mode P"),
    Case("image with transparency", saved(lambda: picture(1).convert("RGBA")), "colour mode", "of mode RGBA"),
    Case("16-bit image", saved(lambda: Image.fromarray(GREY16)), "colour mode", "of mode I;16"),
    Case("CMYK image", saved(lambda: picture(1).convert("CMYK"), "JPEG"), "colour mode", "of mode CMYK"),
    Case("EXIF rotation", saved(lambda: picture(1), exif=turned(3)), "EXIF orientation", "orientation 3"),
    Case("EXIF rotation, annotated on the upright view", upright, "image size", "made on the upright view", 5, 5),
    Case("EXIF orientation 77", saved(lambda: picture(1), exif=turned(77)), "EXIF invalid", "is 77"),
    Case("EXIF of garbage", saved(lambda: picture(1), "JPEG", exif=BAD_EXIF), "EXIF invalid", "Corrupt EXIF data"),
    Case("another size than annotated", first_image(width=40), "image size", "annotated as 40 x 32", 5, 5),
    Case(
        "huge image (a bomb of 400 million pixels)",
        saved(lambda: Image.new("1", (20_000, 20_000))),
        "image too large",
        "more",
        5,
        5,
    ),
    Case("link to itself", link("train/1.png", "1.png"), "image missing", "leads nowhere or to itself", 5, 5),
    Case("link to nowhere", link("train/1.png", "nowhere.png"), "image missing", "leads nowhere or to itself", 5, 5),
    Case("file name in other scripts", renamed, None),
    Case("image twice", lambda r: shutil.copy(r / "train/1.png", r / "train/2.png"), "same image twice", "bytes as 1"),
    Case(
        "image of val in train",
        lambda r: shutil.copy(r / "val/12.png", r / "train/1.png"),
        "train image in val",
        "12.png of val",
        5,
        5,
    ),
    Case("nearly the same image in val", nearly_the_same, "near duplicate in val", "looks like 1.png of train"),
    # entries
    Case(
        "image without annotations", entry(lambda d: d["annotations"].pop(0)), "image without annotations", "no", 6, 5
    ),
    Case("annotation without image", first_box(image_id=99), "annotation without image", "image_id 99", 6, 5),
    Case("image id as text", first_box(image_id="1"), "annotation without image", "image_id '1'", 6, 5),
    Case("image id twice", first_image(id=2), "duplicate id", "image id 2 is used twice"),
    Case("category id twice", entry(lambda d: d["categories"][0].update(id=2)), "duplicate id", "category id 2 is"),
    Case("annotation id twice", first_box(id=2), "annotation id", "id is 2"),
    Case("annotation without id", first_box(id=...), "annotation id", "id is None"),
    Case("category ids with gaps", entry(gap, "train", "val"), "category ids with gaps", "the id 3, 4"),
    Case("class unknown", first_box(category_id=7), "category", "category_id 7 is not among"),
    Case("class as text", first_box(category_id="1"), "category", "category_id '1' is not among"),
    Case("category id as text", entry(lambda d: d["categories"][0].update(id="1")), "annotation file", "id is '1'"),
    Case("class without objects", every_box(category_id=1), "class without objects", "no object is a dog"),
    Case("one class only", entry(only_cats, "train", "val"), "one class only", "the only class is cat"),
    Case("box outside", first_box(bbox=[60, 5, 9, 9]), "box outside", "lies outside of 48 x 32", 6, 5),
    Case("box at negative places", first_box(bbox=[-9, 5, 9, 9]), "box outside", "lies outside", 6, 5),
    Case("box partly outside", first_box(bbox=[40, 5, 20, 9]), "box partly outside", "ends outside"),
    Case("box inverted (negative width)", first_box(bbox=[9, 5, -4, 9]), "box inverted", "negative", 6, 5),
    Case("box without area", first_box(bbox=[9, 5, 0, 9]), "box without area", "is 0", 6, 5),
    Case("box of NaN", first_box(bbox=[9, float("nan"), 4, 9]), "box not finite", "bbox is", 6, 5),
    Case("box of infinite width", first_box(bbox=[9, 5, float("inf"), 9]), "box not finite", "bbox is", 6, 5),
    Case("box of three numbers", first_box(bbox=[1, 2, 3]), "box not finite", "bbox is", 6, 5),
    Case("box of text", first_box(bbox=["1", "2", "3", "4"]), "box not finite", "bbox is", 6, 5),
    Case("no box", first_box(bbox=...), "box not finite", "bbox is None", 6, 5),
    Case("normalised boxes", every_box(bbox=[0.1, 0.2, 0.5, 0.25]), "normalised boxes", "expected pixels"),
    Case("crowd as RLE", first_box(iscrowd=1, segmentation=RLE), "crowd", "annotations: 1"),
    Case("iscrowd of 2", first_box(iscrowd=2), "annotation file", "iscrowd is 2"),
    Case("width of 0", first_image(width=0), "annotation file", "width is 0"),
    Case("annotation that is a number", entry(lambda d: d["annotations"].append(3)), "annotation file", "is a int"),
    Case("file name with ..", first_image(file_name="../x.png"), "unsafe path", "leaves the image folder"),
    Case("absolute file name", first_image(file_name="/etc/x.png"), "unsafe path", "leaves the image folder"),
    Case("area that is null", first_box(area=None), "area", "area is None"),
    Case("area that is a list", first_box(area=[200]), "area", "area is [200]"),
    Case("iscrowd that is null", first_box(iscrowd=None), None),
    Case("NaN where nobody looks", first_box(depth=float("nan"), extra={"a": [float("inf")]}), None),
    Case("ids as floats", first_box(id=1.0, image_id=1.0, category_id=2.0), None),
    Case("image id that is no whole number", first_box(image_id=1.5), "annotation without image", "no whole", 6, 5),
    Case("number of 400 digits in a box", first_box(bbox=[4, 5, 10**400, 9]), "box not finite", "bbox is", 6, 5),
    Case("ids beyond 64 bits", entry(hashes), "ids numbered anew", "does not fit into 64 bits"),
    Case(
        "category ids that are hashes",
        entry(
            lambda d: (
                [d["categories"][1].update(id=4_000_000_007)]
                + [a.update(category_id=4_000_000_007 if a["category_id"] == 2 else 1) for a in d["annotations"]]
            )
        ),
        "classes numbered apart",
        "dog is category 2 here and 4000000007 in train",
    ),
    Case("file names of another system", below, "file name", "is read as 'cam 1/1.png'"),
    Case("two entries for one file", first_image(file_name="2.png"), "file named twice", "named by images[0]"),
    Case(
        "float image from 0 to 1",
        lambda r: tiff(r, np.asarray(picture(1).convert("L"), np.float32) / 255),
        "range of values",
        "1 is shown as white",
    ),
    Case(
        "32-bit image",
        lambda r: tiff(r, np.asarray(picture(1).convert("L"), np.int32) * 257),
        "range of values",
        "65535 is shown",
    ),
    Case(
        "12 bits in a 16-bit image",
        saved(lambda: Image.fromarray(np.asarray(picture(1).convert("L"), np.uint16) * 16)),
        "range of values",
        "4095 is shown",
    ),
    Case(
        "float image with negative values",
        lambda r: tiff(r, np.full(SIZE[::-1], -1, np.float32)),
        "image values",
        "from -1 to -1",
        5,
        5,
    ),
    Case(
        "float image with NaN",
        lambda r: tiff(r, np.full(SIZE[::-1], np.nan, np.float32)),
        "image values",
        "not all finite",
        5,
        5,
    ),
    Case(
        "black ink on nothing (transparent)",
        saved(lambda: Image.new("RGBA", SIZE, (0, 0, 0, 9))),
        "black or white",
        "nearly black",
    ),
    # both files
    Case("classes of val numbered otherwise", numbered_by_name, "classes numbered apart", "matched by name"),
    Case("a class that val does not list", entry(only_cats, "val"), "classes of one split", "val does not list dog"),
    Case(
        "another class under the same id in val",
        entry(lambda d: d["categories"][1].update(name="cow"), "val"),
        "classes contradict",
        "'cow' here and 'dog' in train",
    ),
    Case(
        "another spelling in val",
        entry(
            lambda d: (
                d["categories"][1].update(name="Dog", id=9)
                or [a.update(category_id=9 if a["category_id"] == 2 else 1) for a in d["annotations"]]
            ),
            "val",
        ),
        "classes contradict",
        "the class 'Dog' is 'dog' in train",
    ),
    Case(
        "one class under two ids",
        entry(lambda d: d["categories"][1].update(name="cat")),
        "class name twice",
        "ids 1 and 2",
    ),
    # whole files
    Case("byte order marks", marks, None),
    Case("corners instead of width and height", entry(corners), "form of boxes", "all do as [x1, y1, x2, y2]"),
    Case("crowds only", every_box(iscrowd=1), "empty", "all 6 annotations are crowds"),
    Case(
        "every image id as text",
        entry(lambda d: [a.update(image_id=str(a["image_id"])) for a in d["annotations"]]),
        "empty",
        "annotation without image 6",
    ),
    Case("no images", entry(lambda d: d["images"].clear()), "empty", "holds no image"),
    Case("no annotations", entry(lambda d: d["annotations"].clear()), "empty", "no image shows an object"),
    Case("no categories", entry(lambda d: d["categories"].clear()), "empty", "holds no category"),
    Case("no key images", entry(lambda d: d.pop("images")), "annotation file", "has no key 'images'"),
    Case("JSON cut short", written(b'{"images": [', "train.json"), "annotation file", "is not valid JSON"),
    Case("JSON of zero bytes", written(b"", "train.json"), "annotation file", "JSON"),
    Case("JSON that is a list", written(b"[]", "train.json"), "annotation file", "holds a list"),
    Case("JSON in another encoding", written(b"\xff\xfe{}", "train.json"), "annotation file", "is not UTF-8 text"),
    Case(
        "most boxes bad",
        entry(lambda d: [a.update(bbox=[9, 5, -4, 9]) for a in d["annotations"][:4]]),
        "too many drops",
        "4 of 6 boxes",
    ),
    Case(
        "most images missing",
        entry(lambda d: [i.update(file_name="x" + i["file_name"]) for i in d["images"][:4]]),
        "too many drops",
        "4 of 6 images",
    ),
    # Pascal VOC
    Case("XML cut short", written(b"<annotation>", "Annotations/1.xml"), "error", "is not valid XML", source="voc"),
    Case(
        "XML in another encoding",
        written(b"<annotation>\xff</annotation>", "Annotations/1.xml"),
        "error",
        "is not valid XML",
        source="voc",
    ),
    Case(
        "XML without a field",
        written(b"<annotation><filename>1.png</filename></annotation>", "Annotations/1.xml"),
        "error",
        "has no <size><width>",
        source="voc",
    ),
    Case(
        "XML with entities",
        written(b'<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "Annotations/1.xml"),
        "error",
        "declares a document type",
        source="voc",
    ),
    Case("XML missing", lambda r: (r / "Annotations/1.xml").unlink(), "error", "cannot be read", source="voc"),
    Case(
        "image in both lists",
        lambda r: (r / "ImageSets/Main/val.txt").write_text("1\n"),
        "error",
        "is in the train split already",
        source="voc",
    ),
    Case("names with spaces", with_spaces, None, source="voc"),
    Case("byte order marks", marks, None, source="voc"),
    Case(
        "place and size instead of corners",
        lambda r: [
            (r / f"Annotations/{n}.xml").write_text(
                VOC_FILE.format(name=n).replace("<xmin>4<", "<xmin>20<").replace(">24<", ">9<")
            )
            for n in range(1, 7)
        ],
        "form of boxes",
        "all do as [x, y, width, height]",
        source="voc",
    ),
    # YOLO
    Case("byte order marks", marks, None, source="yolo"),
    Case("paths as exports write them", listed_absolutely, None, source="yolo"),
    Case("files of macOS", lambda r: (r / "images/train/._1.png").write_bytes(b"x"), None, source="yolo"),
    Case(
        "a label that ends at 1.0004",
        written(b"0 0.5 0.5 0.5 1.0004\n", "labels/train/1.txt"),
        "box beyond one",
        "less than a pixel",
        source="yolo",
    ),
    Case("keypoints behind the box", pose, None, source="yolo"),
    Case(
        "keypoints, but no kpt_shape",
        labels("0 0.5 0.5 0.4 0.4 0.4 0.4 0.5 0.5 0.6 0.6\n"),
        "keypoints",
        "kpt_shape: [3, 2]",
        source="yolo",
    ),
    Case(
        "corners instead of centre and size",
        labels("0 0.6 0.6 0.95 0.9\n"),
        "form of boxes",
        "all do as [x1, y1, x2, y2]",
        source="yolo",
    ),
    Case(
        "label files of other names", moved_labels, "labels without image", "belongs to no image", 6, 4, source="yolo"
    ),
    Case(
        "a web tool's names of label files",
        lambda r: [
            (r / "images/train/1.png").rename(r / "images/train/a b.png"),
            (r / "labels/train/1.txt").rename(r / "labels/train/a%20b.txt"),
        ],
        "file name",
        "labels of images/train/a b.png",
        source="yolo",
    ),
    Case(
        "a misnamed folder of labels",
        lambda r: (r / "labels/train").rename(r / "labels/trian"),
        "empty",
        "labels/trian/1.txt is there",
        source="yolo",
    ),
    Case(
        "one name for two classes",
        written(b"train: images/train\nval: images/val\nnames: [cat, cat]\n", "data.yaml"),
        "error",
        "names has 'cat' as 0 and 1",
        source="yolo",
    ),
    Case(
        "pixels instead of parts",
        written(b"0 20 10 10 10\n", "labels/train/1.txt"),
        "annotation file",
        "are not parts of the image",
        source="yolo",
    ),
    Case(
        "negative width",
        written(b"0 0.5 0.5 -0.1 0.2\n", "labels/train/1.txt"),
        "annotation file",
        "are not parts of the image",
        source="yolo",
    ),
    Case("class unknown", written(b"7 0.5 0.5 0.1 0.2\n", "labels/train/1.txt"), "annotation file", "7", source="yolo"),
    Case("four numbers", written(b"0 0.5 0.5 0.1\n", "labels/train/1.txt"), "annotation file", "4", source="yolo"),
    Case("labels in another encoding", written(b"\xff\n", "labels/train/1.txt"), "annotation file", "8", source="yolo"),
    Case(
        "no labels",
        lambda r: (r / "labels/train/1.txt").unlink(),
        "image without annotations",
        "shows no object",
        6,
        5,
        source="yolo",
    ),
    Case("link from a folder to its parent", folder_loop, None, source="yolo"),
    Case(
        "train is a path with ..",
        written(b"train: ../elsewhere\nval: images/val\nnames: [cat, dog]\n", "data.yaml"),
        "error",
        "leaves the dataset's folder",
        source="yolo",
    ),
]


def outcome(case: Case, folder: Path) -> tuple[str, str, str]:
    """(what is done, the file and entry, the message) of a case, as a user sees it."""
    root, out = folder / "source", folder / "out"
    GOOD[case.source](root)
    case.spoil(root)
    refusal = ""
    try:
        build(settings(case.source, root), out)
    except UserError as error:
        refusal = str(error).replace(f"{root}/", "").replace(str(root), ".").replace(f"{out}/", "")
    if case.kind is None:
        return "nothing", "", refusal
    if case.kind == "error":
        where, _, message = refusal.partition(": ")
        return "stop", where, message
    problems = json.loads((out / "check.json").read_text())["problems"]
    found = next(p for p in problems if p["kind"] == case.kind and case.words in p["message"])
    at = found["id"] if not found["id"].isdigit() else f"image {found['id']}"
    return (
        found["effect"],
        f"{found['file'].removeprefix(f'{root}/').replace(str(root), '')} {at}".strip(),
        found["message"].replace(f"{root}/", "").replace(str(root), "."),
    )


HEAD = """# What bad input leads to

Each row is one thing done to a good dataset of 6 + 4 images, what the check does about it, and the line that it gives.
The page is made by `python -m tests.parity.data.bad_input`; `make test` compares it with what really happens. *stop*
ends the command with that line before anything trains; everything else is in `check.md` beside the dataset, and what is
left is used. The kinds of problems are explained in [own-data.md](own-data.md).

| source | what is wrong | what is done | where and what is said |
|---|---|---|---|
"""


def page() -> str:
    """docs/bad-input.md."""
    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            done, where, message = outcome(case, Path(folder))
        message = (f"`{where}` {message}" if message else "").replace("|", "\\|")
        rows.append(f"| {case.source} | {case.what} | {done} | {message} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    unknown = {case.kind for case in CASES} - set(KINDS) - {None, "error"}
    sys.exit(f"unknown kinds: {unknown}") if unknown else write_text(PAGE, page())
