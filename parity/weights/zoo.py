"""The released checkpoints of config/zoo.yaml: what was published for them, and how one is fetched."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parity.config.layers import read_yaml
from parity.config.models import ROOT, model_names, variant_names
from parity.data.download import Say, fetch, local, say_to_stderr
from parity.data.entries import AP_METRICS
from parity.errors import UserError
from parity.files import file_sha256

ZOO = ROOT / "config/zoo.yaml"
KEYS = {"file", "url", "page", "sha256", "licence", "input", "trained", "published"}


@dataclass(frozen=True)
class Released:
    """One released checkpoint. `published` is COCO box AP on val2017 in points; None where nobody published it."""

    model: str
    variant: str
    file: str
    sha256: str
    licence: str
    input: int
    trained: str
    published: dict[str, float | None] = field(default_factory=dict)
    url: str | None = None
    page: str | None = None


def read_zoo(path: str | Path = ZOO) -> dict[tuple[str, str], Released]:
    """Every released checkpoint by (model, variant). Raises UserError naming the entry and key at fault."""
    zoo: dict[tuple[str, str], Released] = {}
    document = read_yaml(path)
    for model, variants in document.items() if isinstance(document, dict) else ():
        if model not in model_names():
            raise UserError(f"{path}: {model}: unknown model, expected one of {', '.join(model_names())}")
        for variant, entry in variants.items():
            where = f"{path}: {model}.{variant}"
            if variant not in variant_names(model):
                raise UserError(f"{where}: unknown variant, expected one of {', '.join(variant_names(model))}")
            _check(entry, where)
            zoo[model, variant] = Released(model, variant, **entry)
    if not zoo:
        raise UserError(f"{path}: lists no checkpoint, expected models with their variants")
    return zoo


def _check(entry: Any, where: str) -> None:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: is a {type(entry).__name__}, expected a mapping")
    for key in sorted(KEYS - {"url", "page"} - set(entry)):
        raise UserError(f"{where}: lacks {key}")
    for key in sorted(set(entry) - KEYS):
        raise UserError(f"{where}: {key}: unknown key, expected one of {', '.join(sorted(KEYS))}")
    published = entry["published"]
    if not isinstance(published, dict) or set(published) != set(AP_METRICS):
        raise UserError(f"{where}: published: expected the keys {', '.join(AP_METRICS)}")
    if not (entry.get("url") or entry.get("page")):
        raise UserError(f"{where}: has neither url nor page, expected where the file comes from")


def find(model: str, variant: str, path: str | Path = ZOO) -> Released:
    """The released checkpoint of a variant. Raises UserError naming those that there are."""
    zoo = read_zoo(path)
    if (model, variant) not in zoo:
        known = ", ".join(name for other, name in zoo if other == model)
        raise UserError(f"variant {variant!r} of {model}: no checkpoint was released, expected one of {known}")
    return zoo[model, variant]


def take(released: Released, weights: str | None, folder: str | Path, say: Say = say_to_stderr) -> Path:
    """The file of a released checkpoint: `weights` if given, or the one in `folder`, or a download into it.

    A file given by hand may differ from the released one: `init` records its sum and does not compare it. Where the zoo
    has no sum, the sum of the download is printed, so that it can be added to the zoo. Raises UserError where there is
    no file.
    """
    if weights:
        return local(weights, None, folder)
    path = Path(folder) / released.file
    if path.is_file():
        return local(str(path), released.sha256 or None, folder)
    if not released.url:
        raise UserError(f"{path}: no such file; download it from {released.page}, or give WEIGHTS=file")
    fetched = fetch(released.url, path, released.sha256 or None, say=say)
    if not released.sha256:
        say(f"{released.file}: SHA-256 {file_sha256(fetched)}; write it down in config/zoo.yaml")
    return fetched
