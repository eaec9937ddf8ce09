"""The dataset: the section `data`, with one section for each source."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_serializer

from parity.config.section import Plain, Section, Unique

ImageIds = list[int] | str | dict[str, Any]  # a list, a text file of ids, or such a file with its checksum
Files = Literal["link", "relative", "copy"]
FILES = "Images as absolute symlinks, as symlinks that survive moving both folders together, or as copies."
TRAIN_IMAGES = "Number of training images, drawn so that every category occurs; null takes all."
VAL_IMAGES = "Number of validation images, drawn likewise; null takes all."


class SyntheticSource(Section):
    """Shapes on textured backgrounds, drawn by the project itself; seven classes with ids up to 11."""

    train_images: int = Field(240, ge=1, description="Number of training images.")
    val_images: int = Field(60, ge=1, description="Number of validation images.")
    image_size: Annotated[list[Annotated[int, Field(ge=32)]], Field(min_length=2, max_length=2)] = Field(
        [160, 224], description="Smallest and largest side of an image in pixels; width and height are drawn apart."
    )
    objects: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)] = Field(
        [1, 4], description="Fewest and most objects in an image that is not empty."
    )
    crowd_fraction: float = Field(0.06, ge=0, le=1, description="Part of the images that hold a crowd annotation.")
    empty_fraction: float = Field(0.06, ge=0, le=1, description="Part of the images that show no object.")
    seed: int = Field(7, ge=0, description="Seed of the images.")
    val_is_train: bool = Field(
        False,
        description="Validate on the training images themselves, to see whether a model can learn them by heart.",
    )


class CocoAnnotations(Section):
    """Annotation file of each split."""

    train: str | None = Field(
        "annotations/instances_train2017.json", description="Annotation file of the training images, or null."
    )
    val: str = Field("annotations/instances_val2017.json", description="Annotation file of the validation images.")


class CocoImages(Section):
    """Image folder of each split."""

    train: str = Field("train2017", description="Folder of the training images.")
    val: str = Field("val2017", description="Folder of the validation images.")


class CocoSource(Section):
    """A part of a dataset in COCO format. Train and val never share an image."""

    root: str | None = Field(None, description="Folder of the dataset; the other paths are relative to it.")
    annotations: CocoAnnotations = Field(
        CocoAnnotations(),
        description="Annotation file of each split. With `train` null both splits are drawn from the val split.",
    )
    images: CocoImages = Field(CocoImages(), description="Image folder of each split.")
    train_images: int | None = Field(None, ge=1, description=TRAIN_IMAGES)
    val_images: int | None = Field(None, ge=1, description=VAL_IMAGES)
    train_ids: ImageIds | None = Field(
        None,
        description="Image ids to train on instead of a drawn subset, as a list or as a text file with an id per line.",
    )
    val_ids: ImageIds | None = Field(
        None,
        description="Image ids to validate on instead of a drawn subset, as a list or as a text file with an id per"
        " line.",
    )
    seed: int = Field(0, ge=0, description="Seed of the draw.")
    files: Files = Field("link", description=FILES)


class VocSplits(Section):
    """Text file of each split that names its images."""

    train: str = Field("ImageSets/Main/train.txt", description="Names of the training images.")
    val: str = Field("ImageSets/Main/val.txt", description="Names of the validation images.")


class VocSource(Section):
    """A dataset in Pascal VOC format, one XML file per image."""

    root: str | None = Field(
        None, description="Folder of the dataset, e.g. VOCdevkit/VOC2007; the other paths are relative to it."
    )
    annotations: str = Field("Annotations", description="Folder of the XML files.")
    images: str = Field("JPEGImages", description="Folder of the images.")
    splits: VocSplits = Field(VocSplits(), description="Text file of each split that names its images, one per line.")
    classes: list[str] | None = Field(
        None,
        description="Class names in the order of their ids; null takes VOC's twenty, or the names that occur, sorted,"
        " where others occur.",
    )
    one_based: bool = Field(
        False,
        description="Boxes end at pixel edges, xmin - 1 to xmax; false takes corners as they stand, as the official"
        " NanoDet-Plus does.",
    )
    difficult: Literal["keep", "ignore"] = Field(
        "keep",
        description="Objects marked difficult; `keep` trains on them and counts them in COCO's AP, `ignore` does"
        " neither. VOC's AP never counts them.",
    )
    train_images: int | None = Field(None, ge=1, description=TRAIN_IMAGES)
    val_images: int | None = Field(None, ge=1, description=VAL_IMAGES)
    seed: int = Field(0, ge=0, description="Seed of the draw.")
    files: Files = Field("link", description=FILES)


class YoloSource(Section):
    """A dataset in YOLO format, data.yaml and one text file per image with normalised boxes."""

    root: str | None = Field(
        None,
        description="Folder of the dataset; every path in data.yaml has to end inside it.",
    )
    file: str = Field("data.yaml", description="The file that names splits and classes.")
    train_images: int | None = Field(None, ge=1, description=TRAIN_IMAGES)
    val_images: int | None = Field(None, ge=1, description=VAL_IMAGES)
    seed: int = Field(0, ge=0, description="Seed of the draw.")
    files: Files = Field("link", description=FILES)


class ArchiveConfig(Section):
    """Where one archive is fetched from instead."""

    url: str | None = Field(None, description="Address of the archive.")
    sha256: str | None = Field(None, description="Its SHA-256, where it differs from the official one.")
    size: int | None = Field(None, ge=1, description="Its size in bytes, where it differs.")


class DataConfig(Section):
    """The dataset and the part of it that is used."""

    name: str = Field(
        "synthetic",
        pattern="^[a-z0-9_]+$",
        examples=["coco_tiny"],
        description="A name for the dataset; its folder is <results>/data/<name>-<hash of this section>.",
    )
    source: Literal["synthetic", "coco", "voc", "yolo"] = Field("synthetic", description="Where the images come from.")
    num_classes: int = Field(7, ge=1, description="Number of categories; a dataset with another number is refused.")
    download: bool | None = Field(
        None,
        description="Fetch COCO 2017 or Pascal VOC into the source's `root` where it is not there; no network is used"
        " unless true.",
    )
    archives: dict[str, ArchiveConfig] | None = Field(
        None,
        description="Archives from another place: `url`, and `sha256` and `size` where they differ, by the archive's"
        " official name.",
    )
    subset: Unique[Annotated[int, Field(ge=1)]] | None = Field(
        None,
        description="Number of training images of whichever source; with several numbers `make sweep` makes a report of"
        " each.",
    )
    max_category_id: int | None = Field(
        None,
        ge=1,
        description="Largest category id, for models that use the ids themselves as classes (DETR; 90 for COCO).",
    )
    synthetic: SyntheticSource = Field(
        SyntheticSource(),
        description="Shapes on textured backgrounds, drawn by the project itself; seven classes with ids up to 11.",
    )
    coco: CocoSource = Field(
        CocoSource(), description="A part of a dataset in COCO format. Train and val never share an image."
    )
    voc: VocSource = Field(VocSource(), description="A dataset in Pascal VOC format, one XML file per image.")
    yolo: YoloSource = Field(
        YoloSource(),
        description="A dataset in YOLO format, data.yaml and one text file per image with normalised boxes.",
    )

    @property
    def settings(self) -> SyntheticSource | CocoSource | VocSource | YoloSource:
        """The section of the chosen source; the others do not count."""
        return getattr(self, self.source)

    def with_more_validation(self, images: int) -> Self:
        """The same source with at least `images` validation images where the project draws them, else itself."""
        drawn = self.synthetic
        if self.source != "synthetic" or drawn.val_is_train or drawn.val_images >= images:
            return self
        return self.but(synthetic=drawn.but(train_images=1, val_images=images))

    @model_serializer(mode="wrap")
    def _chosen_source(self, handler) -> Plain:
        """Without the sources that were not chosen, and without what was left out."""
        unused = {"synthetic", "coco", "voc", "yolo"} - {self.source}
        return {key: value for key, value in handler(self).items() if value is not None and key not in unused}
