"""Pascal VOC annotations (one XML file per image) as a source of the neutral dataset.

Objects are the direct children of an annotation: boxes of body parts, which VOC nests inside `<part>`, are no objects.
Corners are taken as they stand, x from xmin to xmax, as NanoDet-Plus's official dataset takes them
(nanodet/data/dataset/xml_dataset.py). VOC counts pixels from 1 and means both ends; `one_based: true` therefore makes
xmin - 1 .. xmax of them, the true edges.

Entities make XML dangerous. A file with a document type, and with it every entity, is refused.
"""

import math
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

from parity.config.data import VocSource
from parity.data import names as file_names
from parity.data import subset
from parity.data.check import Report
from parity.data.forms import other_form
from parity.data.freshness import Sources
from parity.data.manifest import SPLITS
from parity.errors import UserError
from parity.files import read_lines

CLASSES = ["aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"]
CLASSES += ["diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"]
LARGEST_FILE = 4 << 20  # bytes of one XML file; VOC's largest has some thousand
DIFFICULT = ("keep", "ignore")
FLAGS = ("-1", "0", "1")  # of an image in the set of one class

DEFAULTS = {"name": "voc"} | VocSource().whole()


def write_voc(config: Mapping[str, Any], out: Path, report: Report, sources: Sources) -> None:
    """Write the dataset that `config` (keys of DEFAULTS) describes into the folder `out`.

    Every file that cannot be read goes to `report`, every file that is read to `sources`.
    """
    if not config["root"] or not Path(config["root"]).is_dir():
        raise UserError(f"data.root: {config['root']!r} is not a folder, expected that of a VOC dataset")
    if config["difficult"] not in DIFFICULT:
        raise UserError(f"data.difficult: {config['difficult']!r}, expected one of {', '.join(DIFFICULT)}")
    root = Path(config["root"])
    annotations = root / config["annotations"]
    listed = {}
    for split in SPLITS:
        sources.file(root / config["splits"][split])
        listed[split] = read_list(root / config["splits"][split], annotations)
    shared = sorted(set(listed["train"]) & set(listed["val"]))
    if shared:
        raise UserError(f"{root / config['splits']['val']}: {shared[0]} is in the train split already")
    ids = number(listed["train"] + listed["val"])
    parsed = {}
    for split in SPLITS:
        for name in listed[split]:
            path = annotations / f"{name}.xml"
            sources.file(path)
            try:
                about = parse(path)
                if file_names.leaves(about["file_name"]):
                    _inside(about, root / config["images"], root)
                parsed[name] = about
            except UserError as error:
                report.add("annotation file", split, path, name, str(error).removeprefix(f"{path}: "))
    report.stop_if_needed()
    for split in SPLITS:
        _judge_form([parsed[name] for name in listed[split]], split, annotations, report)
    report.stop_if_needed()
    classes = _classes(config["classes"], parsed, annotations)
    info = {"description": config["name"], "format": "voc", "one_based": bool(config["one_based"])}
    documents = {split: {"info": info} | _document(listed[split], ids, parsed, classes, config) for split in SPLITS}
    subset.write_converted(documents, annotations, config["images"], config, out, report, sources)


def _inside(about: dict[str, Any], images: Path, root: Path) -> None:
    """Turn a file name that leaves the image folder into one inside it, if both mean the same file."""
    found = file_names.find(about["file_name"], images, root)
    if found is None:
        name = about["file_name"]
        raise UserError(f"filename {name!r} leaves the image folder {images}, expected a path inside it")
    about["file_name"] = found


def read_list(path: Path, annotations: Path) -> list[str]:
    """Image names of an image set, a line each. A class's set has a flag (-1, 0, 1) behind the name.

    Names may hold spaces: a line is a name if `annotations` has its XML file. Only otherwise a flag is looked for.
    """
    names = []
    for line in read_lines(path):
        name = line.strip()
        if not file_names.is_file(annotations / f"{name}.xml"):
            before, _, flag = name.rpartition(" ")
            name = before.strip() if flag in FLAGS and before.strip() else name
        names.append(name)
    if not names:
        raise UserError(f"{path}: names no image")
    for name in names:
        if file_names.leaves(name):
            raise UserError(f"{path}: {name!r} leaves the folder of annotations, expected a name inside it")
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise UserError(f"{path}: names {twice} twice")
    return names


def number(names: list[str]) -> dict[str, int]:
    """An id for each name: its digits if all names have digits only (2008_000002 is 2008000002), otherwise its rank."""
    digits = {name: name.replace("_", "") for name in names}
    if all(text.isascii() and text.isdigit() for text in digits.values()) and len(
        set(map(int, digits.values()))
    ) == len(names):
        return {name: int(text) for name, text in digits.items()}
    return {name: rank for rank, name in enumerate(sorted(names), 1)}


def parse(path: Path) -> dict[str, Any]:
    """One annotation file: file_name, width, height and `objects` with name, box (corners as they stand), difficult.

    Raises UserError naming the file and the field for anything missing or malformed.
    """
    root = read_xml(path)
    if root.tag != "annotation":
        raise UserError(f"{path}: holds <{root.tag}>, expected <annotation>")
    name = _text(root, "filename", str(path))
    width, height = (_number(root, f"size/{side}", str(path)) for side in ("width", "height"))
    if width < 1 or height < 1 or width % 1 or height % 1:
        raise UserError(f"{path}: size is {width:g} x {height:g}, expected whole numbers of at least 1")
    objects = []
    for position, entry in enumerate(root.findall("object")):
        where = f"{path}: object[{position}]"
        box = [_number(entry, f"bndbox/{corner}", where) for corner in ("xmin", "ymin", "xmax", "ymax")]
        flag = (entry.findtext("difficult") or "0").strip()
        if flag not in ("0", "1"):
            raise UserError(f"{where}: difficult is {flag!r}, expected 0 or 1")
        objects.append({"name": _text(entry, "name", where), "box": box, "difficult": int(flag)})
    return {"file_name": name, "width": int(width), "height": int(height), "objects": objects}


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file of bounded size without a document type."""

    def refuse(*_: Any) -> None:
        raise UserError(f"{path}: declares a document type, which an annotation needs not and entities hide in")

    try:
        with open(path, "rb") as handle:
            content = handle.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > LARGEST_FILE:
        raise UserError(f"{path}: is larger than {LARGEST_FILE >> 20} MB, no annotation is")
    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = guard.EntityDeclHandler = refuse
    try:
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(f"{path}: is not valid XML: {error}") from error


def _text(parent: ElementTree.Element, key: str, where: str) -> str:
    text = (parent.findtext(key) or "").strip()
    if not text:
        raise UserError(f"{where}: has no <{key.replace('/', '><')}>")
    return text


def _number(parent: ElementTree.Element, key: str, where: str) -> float:
    text = _text(parent, key, where)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: <{key.replace('/', '><')}> is {text!r}, expected a number")
    return value


def _classes(given: list[str] | None, parsed: dict[str, dict], annotations: Path) -> list[str]:
    """Class names in the order of their ids; every name in the files must be one of them."""
    found = {entry["name"]: name for name, about in parsed.items() for entry in about["objects"]}
    if given is None:
        return CLASSES if set(found) <= set(CLASSES) else sorted(found)
    if not given or len(set(given)) != len(given) or not all(isinstance(name, str) and name for name in given):
        raise UserError("data.classes: is empty or names a class twice, expected a list of names")
    for name in sorted(set(found) - set(given)):
        raise UserError(f"{annotations / found[name]}.xml: object {name!r} is not among data.classes")
    return list(given)


def _judge_form(parsed: list[dict], split: str, annotations: Path, report: Report) -> None:
    """Stop where the corners are something else: places and sizes, as some tools write them."""
    found = [(entry["box"], (about["width"], about["height"])) for about in parsed for entry in about["objects"]]
    wrong = other_form([box for box, _ in found], [size for _, size in found], "corners")
    if wrong:
        report.add("form of boxes", split, annotations, "bndbox", wrong)


def _document(
    names: list[str], ids: dict[str, int], parsed: dict[str, dict], classes: list[str], config: Mapping[str, Any]
) -> dict[str, Any]:
    """COCO document of one split.

    Difficult objects carry `difficult: 1`. Kept, they are ordinary targets, as in the official NanoDet-Plus; ignored,
    they are crowds too: no targets, and neither found nor missed in COCO's AP.
    """
    number_of = {name: position for position, name in enumerate(classes, 1)}
    shift = 1.0 if config["one_based"] else 0.0
    images, annotations = [], []
    for name in names:
        about = parsed[name]
        images.append({"id": ids[name]} | {key: about[key] for key in ("file_name", "width", "height")})
        for entry in about["objects"]:
            x1, y1, x2, y2 = entry["box"]
            box = [x1 - shift, y1 - shift, x2 - x1 + shift, y2 - y1 + shift]
            flags = {"iscrowd": 0}
            if entry["difficult"]:
                flags |= {"difficult": 1} | ({"iscrowd": 1, "ignore": 1} if config["difficult"] == "ignore" else {})
            annotations.append(
                {"id": len(annotations) + 1, "image_id": ids[name], "category_id": number_of[entry["name"]]}
                | {"bbox": box, "area": box[2] * box[3]}
                | flags
            )
    categories = [{"id": position, "name": name} for name, position in number_of.items()]
    return {"images": images, "annotations": annotations, "categories": categories}
