"""From a data configuration to a finished neutral dataset folder."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from parity.data import subset, synthetic, voc, yolo
from parity.data.check import CheckFailed, Report
from parity.data.check_images import check_images
from parity.data.freshness import FIRST, Sources
from parity.data.manifest import write_manifest
from parity.errors import UserError

SOURCES: dict[str, tuple[dict[str, Any], Callable[[Mapping[str, Any], Path, Report, Sources], None]]] = {
    "synthetic": (synthetic.DEFAULTS, synthetic.write_synthetic),
    "coco": (subset.DEFAULTS, subset.write_subset),
    "voc": (voc.DEFAULTS, voc.write_voc),
    "yolo": (yolo.DEFAULTS, yolo.write_yolo),
}


def build(config: Mapping[str, Any], out: str | Path, answers: str = FIRST) -> dict[str, Any]:
    """Build the dataset that `config` describes at `out` and return its manifest.

    `config["source"]` picks the source, the other keys are those of the source's DEFAULTS; missing ones take their
    default. Everything is written beside `out` and renamed into place, so that a manifest means a complete folder.

    `answers` is the token from `freshness.token`. It is stored beside the dataset, with the list of its source files.

    Problems of the data are written to check.md and check.json in that folder. If the data must not be trained on, only
    these two files are written, and CheckFailed names the first problem.
    """
    out = Path(out)
    source = config.get("source")
    if source not in SOURCES:
        raise UserError(f"data.source: {source!r} is unknown, expected one of {', '.join(SOURCES)}")
    defaults, write = SOURCES[source]
    for key in config:
        if key != "source" and key not in defaults:
            raise UserError(f"data.{key}: is unknown to source {source}, expected one of {', '.join(defaults)}")
    settings = {key: _merged(default, config.get(key, default)) for key, default in defaults.items()}
    staging = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    if settings.get("root"):
        settings["root"] = os.path.expanduser(settings["root"])
    report, sources = Report(), Sources(settings.get("root"))
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        write(settings, staging, report, sources)
        where = settings.get("root") or out
        check_images(staging, report, where, apart=not settings.get("val_is_train", False))
        report.stop_if_needed()
        described = {key: value for key, value in settings.items() if key != "name"}
        manifest = write_manifest(staging, settings["name"], {"source": source} | described)
        report.write(staging, settings["name"])
        sources.save(staging, answers, _sums(manifest))
        _into_place(staging, out)
    except CheckFailed as failed:
        report.write(out, settings["name"])
        raise CheckFailed(report, out / "check.md") from failed
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _merged(default: Any, value: Any) -> Any:
    """`value`, with missing keys of a mapping taken from its default."""
    return default | dict(value) if isinstance(default, dict) and isinstance(value, Mapping) else value


def _sums(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of every image, by its place in the dataset folder."""
    splits = manifest["splits"].items()
    return {f"images/{split}/{name}": value for split, about in splits for name, value in about["sha256"].items()}


def _into_place(staging: Path, out: Path) -> None:
    """Rename the finished folder to `out`; an older one is moved aside first and deleted afterwards."""
    older = out.with_name(f".{out.name}.{os.getpid()}.old")
    if out.exists():
        os.replace(out, older)
    os.replace(staging, out)
    shutil.rmtree(older, ignore_errors=True)
