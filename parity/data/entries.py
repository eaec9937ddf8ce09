"""The entries of an annotation file in COCO's format and of a file of results, as they are in JSON; COCO's metrics."""

from typing import Any, TypedDict

AP_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
METRICS = (*AP_METRICS, "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")  # the twelve numbers of pycocotools, in its order


class ImageEntry(TypedDict, total=False):
    """One image; sides in pixels."""

    id: int
    file_name: str
    width: int
    height: int


class AnnotationEntry(TypedDict, total=False):
    """One object. `bbox` is x, y, width, height in pixels; `difficult` comes from Pascal VOC."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    ignore: int
    difficult: int
    segmentation: Any


class CategoryEntry(TypedDict):
    """One class."""

    id: int
    name: str


class Document(TypedDict, total=False):
    """A whole annotation file. It may hold more, which stays as it is."""

    info: dict
    images: list[ImageEntry]
    annotations: list[AnnotationEntry]
    categories: list[CategoryEntry]


class ResultEntry(TypedDict):
    """One detection: `bbox` is x, y, width, height in pixels of the image file, the score is from 0 to 1."""

    image_id: int
    category_id: int
    bbox: list[float]
    score: float
