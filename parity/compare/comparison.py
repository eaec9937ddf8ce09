"""Everything one report is made from, read once into typed objects.

`comparison.json` is written by `workflow/scripts/collect.py` and only names files; paths in it are relative to the
working directory. A file that is missing or broken does not stop the report: it becomes an entry of `problems`, and
the parts that needed it say "not recorded".
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parity.errors import UserError
from parity.files import read_json
from parity.measure.processes import merge

PROFILE_ORDER = ("torch", "jittor", "torch-compile", "jittor-stock")
DEFAULT_MARGINS = {"ap": 1.0, "ap_relative": 0.05, "latency": 0.05}


@dataclass
class Run:
    """One training run: one framework, one seed.

    `steps` and `epochs` are the lines of metrics.jsonl, `untrained` that of the validation before the first step;
    `coco` evaluates the final weights. `cross` maps a framework to its evaluation of the same final weights, for the
    comparison of the frameworks. It may be on other images (`Comparison.cross_dataset`), and then it holds the run's
    own framework too. What is missing is None or empty.
    """

    framework: str
    seed: int
    dir: Path
    manifest: dict[str, Any] | None = None
    steps: list[dict] = field(default_factory=list)
    epochs: list[dict] = field(default_factory=list)
    untrained: dict[str, Any] | None = None
    coco: dict[str, Any] | None = None
    cross: dict[str, dict[str, Any]] = field(default_factory=dict)
    cross_dirs: dict[str, Path] = field(default_factory=dict)

    @property
    def detections(self) -> Path:
        """Detections of the final weights, in COCO results format; may be missing."""
        return self.dir / "detections.json"

    def others(self) -> list[str]:
        """The other frameworks that evaluated the final weights."""
        return [name for name in self.cross_dirs if name != self.framework]

    def evaluated_by(self, framework: str) -> tuple[dict[str, Any] | None, Path]:
        """A framework's results with the final weights, for the comparison of the two: coco.json and detections.json.

        coco.json is None where it is missing; the detections may be missing too.
        """
        if framework in self.cross_dirs:
            return self.cross.get(framework), self.cross_dirs[framework] / "detections.json"
        return self.coco, self.detections

    def final(self, metric: str) -> float | None:
        """A COCO number of the final weights, 0..1; None when undefined or missing."""
        return clean(((self.coco or {}).get("metrics") or {}).get(metric))

    def curve(self, metric: str) -> tuple[list[int], list[float]]:
        """Epochs at which a COCO number was measured and defined, and its values 0..1."""
        pairs = [(e["epoch"], clean((e.get("metrics") or {}).get(metric))) for e in self.validated()]
        pairs = [(epoch, value) for epoch, value in pairs if value is not None]
        return [p[0] for p in pairs], [p[1] for p in pairs]

    def validated(self) -> list[dict]:
        """The lines of epochs, after that of the untrained weights (epoch 0) where these were validated."""
        return [*([self.untrained] if self.untrained else []), *self.epochs]

    def best_epoch(self) -> dict | None:
        """The epoch line with the highest AP; the earliest one on a tie."""
        scored = [e for e in self.validated() if clean((e.get("metrics") or {}).get("AP")) is not None]
        return max(scored, key=lambda e: (e["metrics"]["AP"], -e["epoch"])) if scored else None


@dataclass
class Comparison:
    """Load the files that `comparison.json` names.

    `profiles` maps a setting (torch, jittor, torch-compile, jittor-stock) to its measurements, merged over processes;
    `uncompiled` maps a setting whose model cannot be compiled, and so was not measured, to the reason. `cross_dataset`
    is the folder of the images that both frameworks evaluate the same weights on. `whole_run` is what
    `parity.align.whole_run` found, `stock` the ladder of Jittor's own operators; None where they were not asked for.
    """

    source: Path
    model: str
    title: str
    variant: str
    frameworks: list[str]
    runs: list[Run]
    profiles: dict[str, dict[str, Any]]
    dataset_dir: Path | None
    dataset: dict[str, Any] | None
    conversion: dict[str, Any] | None
    alignment: dict[str, Any] | None
    config: dict[str, Any]
    margins: dict[str, float]
    commit: str | None
    commands: dict[str, str]
    problems: list[str]
    uncompiled: dict[str, str] = field(default_factory=dict)
    cross_dataset: Path | None = None
    whole_run: dict[str, Any] | None = None
    stock: dict[str, Any] | None = None

    @property
    def rungs(self) -> list[dict[str, Any]]:
        """The rungs of the ladder, and the result of the steps over the whole training, which is judged like a rung."""
        return [*((self.alignment or {}).get("rungs") or []), *([self.whole_run] if self.whole_run else [])]

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    def of(self, framework: str) -> list[Run]:
        """Runs of one framework, by seed."""
        return sorted((run for run in self.runs if run.framework == framework), key=lambda run: run.seed)

    def run(self, framework: str, seed: int) -> Run | None:
        return next((run for run in self.of(framework) if run.seed == seed), None)

    def pairs(self, first: str, second: str) -> list[tuple[Run, Run]]:
        """Runs of two frameworks with the same seed, by seed."""
        return [(a, b) for a in self.of(first) for b in self.of(second) if a.seed == b.seed]

    def setting(self, *path: str, default: Any = None) -> Any:
        """A value of the resolved configuration, `default` when any part of the path is missing."""
        value: Any = self.config
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        return value

    def source_name(self) -> str | None:
        """Where the images come from, e.g. "synthetic"; dataset manifests hold a word or an object with the details."""
        source = (self.dataset or {}).get("source")
        return source.get("source") if isinstance(source, dict) else source

    def config_digest(self) -> str | None:
        """Digest of the first run that recorded one."""
        return next((r.manifest["config_digest"] for r in self.runs if (r.manifest or {}).get("config_digest")), None)


def clean(value: Any) -> float | None:
    """A COCO number as a float; None for null, NaN and COCO's -1 (no ground truth of that kind)."""
    return None if value is None or not value >= 0 else float(value)


def load(path: str | Path) -> Comparison:
    """Read comparison.json and everything it names. Raises UserError only for comparison.json itself."""
    path = Path(path)
    index = read_json(path)
    if not isinstance(index, dict):
        raise UserError(f"{path}: holds {type(index).__name__}, expected an object")
    for key in ("model", "runs"):
        if key not in index:
            raise UserError(f"{path}: key '{key}' is missing")
    problems: list[str] = list(index.get("problems") or [])
    runs = [_load_run(entry, problems, path) for entry in index["runs"]]
    profiles, uncompiled = _load_profiles(index.get("profiles") or {}, problems)
    asked = list(index.get("frameworks") or _in_order(run.framework for run in runs))
    left = {run.framework for run in runs} | set(profiles)
    problems += [f"{name} was asked for but left neither a run nor a profile" for name in asked if name not in left]
    order = [*PROFILE_ORDER, *sorted(set(profiles) - set(PROFILE_ORDER))]
    dataset_dir = Path(index["dataset"]) if index.get("dataset") else None
    config = index.get("config") or {}
    return Comparison(
        source=path,
        model=index["model"],
        title=index.get("title") or index["model"],
        variant=index.get("variant") or str(config.get("variant", "")),
        frameworks=[name for name in asked if name in left],
        runs=runs,
        profiles={name: profiles[name] for name in order if profiles.get(name)},
        dataset_dir=dataset_dir,
        dataset=_optional(dataset_dir / "manifest.json", problems) if dataset_dir else None,
        conversion=_optional(index.get("conversion"), problems),
        alignment=_optional(index.get("alignment"), problems),
        config=config,
        margins={**DEFAULT_MARGINS, **(index.get("margins") or {})},
        commit=index.get("commit"),
        commands=index.get("commands") or {},
        problems=problems,
        uncompiled=uncompiled,
        cross_dataset=Path(index["cross_dataset"]) if index.get("cross_dataset") else dataset_dir,
        whole_run=_optional(index.get("whole_run"), problems),
        stock=_optional(index.get("stock"), problems),
    )


def _load_profiles(named: dict[str, str | list[str]], problems: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Measurements by setting, merged over the files of its processes, and settings that could not be compiled."""
    profiles, uncompiled = {}, {}
    for setting, files in named.items():
        found = [_optional(file, problems) for file in ([files] if isinstance(files, str) else files or [])]
        found = [profile for profile in found if profile]
        reasons = [profile["uncompiled"] for profile in found if profile.get("uncompiled")]
        if reasons:
            uncompiled[setting] = reasons[0]
        elif found:
            profiles[setting] = merge(found)
    return profiles, uncompiled


def _load_run(entry: dict, problems: list[str], source: Path) -> Run:
    try:
        run = Run(entry["framework"], int(entry["seed"]), Path(entry["dir"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source}: runs: an entry needs framework, seed and dir ({error})") from error
    run.manifest = _optional(run.dir / "run.json", problems)
    run.coco = _optional(run.dir / "coco.json", problems)
    for line in _lines(run.dir / "metrics.jsonl", problems):
        kind = line.get("kind")
        if kind == "epoch" and line.get("epoch") == 0:
            run.untrained = line
        elif kind in ("step", "epoch"):
            (run.steps if kind == "step" else run.epochs).append(line)
    for other, where in (entry.get("cross") or {}).items():
        run.cross_dirs[other] = Path(where)
        coco = _optional(Path(where) / "coco.json", problems)
        if coco is not None:
            run.cross[other] = coco
    return run


def _optional(path: str | Path | None, problems: list[str]) -> Any:
    """A JSON file, or None with an entry in `problems`; a path of None was never asked for and is no problem."""
    if path is None:
        return None
    try:
        return read_json(path)
    except UserError as error:
        problems.append(str(error))
        return None


def _lines(path: Path, problems: list[str]) -> list[dict]:
    """Lines of a JSONL file; a run that was killed may leave its last line unfinished, which is reported."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: cannot be read: {error}")
        return []
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError("is not an object")
            lines.append(value)
        except ValueError:
            problems.append(f"{path}: line {number} is not a JSON object and was left out")
    return lines


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
