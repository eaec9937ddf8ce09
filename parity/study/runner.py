"""`make study`: run after run. Each ends as one row, and a new call goes on where the last one stopped.

Before each run the rows say what is missing; after it one row is added. So a kill costs at most the runs that are at
work, and they continue from their own checkpoints. Training and exam are the verbs of the frameworks, each in a
process of its own.
"""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from statistics import fmean
from threading import Event, Lock
from typing import Any

import yaml

from parity.config.run import RunConfig
from parity.errors import UserError
from parity.files import digest, locked, read_json, write_text
from parity.study.page import progress
from parity.study.protocol import Protocol, Recipes
from parity.study.recipe import DIGITS, Recipe, code_of, prepared, recipe
from parity.study.rows import FRAMEWORKS, SCORES, SHARED, Key, Row, append, check_shared, counted, read_rows
from parity.study.verdict import judge
from parity.weights import formats
from parity.weights.initialize import init_arguments
from parity.weights.last_bits import Kind, nudge

Call = Callable[[str, list[str], Path], int]  # framework, a verb with its arguments, log -> exit status
SIGNALS = 128  # exit statuses from here on, and negative ones, say that a process was stopped from outside
INITIALISER = "torch"  # draws initial weights and trains the common checkpoint


@dataclass(frozen=True)
class Place:
    """Where a study lies: the project, its configuration, results that may be deleted, the file of rows."""

    root: Path
    config: Path
    results: Path
    rows: Path


class Study:
    """The runs of one study. `call` starts a verb of a framework; `tell` gets lines for a person."""

    def __init__(
        self,
        name: str,
        protocol: Protocol,
        recipes: Recipes,
        place: Place,
        call: Call,
        tell: Callable[[str], None] = print,
    ):
        self.name, self.protocol, self.recipes, self.place = name, protocol, recipes, place
        self.call, self.tell = call, tell

    def run(self, start: str, again: bool = False, jobs: int = 1) -> None:
        """Do pairs of one start until a look decides or all exist. With `again`, failed runs are repeated first.

        `jobs` runs of one pair are made at a time.
        """
        work = self._work(start, "")
        with locked(self.place.results / self.name):
            work.check_rows()
            done = {row.key for row in self._rows() if row.done}
            failed = [row.key for row in counted(self._rows(), start) if row.key not in done]
            for key in dict.fromkeys(failed) if again else ():
                work.do(key)
            for seed in self.protocol.seeds:
                if judge(self._rows(), self.protocol, start).decided:
                    break
                missing = self._missing(work, seed)
                work.do_all(missing, jobs)
                if missing:
                    self.tell(self.progress(start))
        self.tell(self.progress(start))

    def pilot(self, name: str, seeds: int, kinds: list[Kind]) -> None:
        """Run a pilot's recipe from untouched and changed starts, on the first pilot seeds, in PyTorch alone."""
        if name not in self.recipes.pilots:
            known = ", ".join(self.recipes.pilots) or "nothing, there are no pilots"
            raise UserError(f"PILOT={name}: expected one of {known}")
        work = self._work(self.recipes.pilots[name].start, name)
        with locked(self.place.results / self.name):
            for seed in self.protocol.pilot_seeds[:seeds]:
                for kind in ("none", *kinds):
                    key = work.key("pilot", seed, int(kind != "none"), kind, INITIALISER)
                    if all(row.key != key for row in self._rows()):
                        work.do(key)
                        self.tell(f"{self.name}, pilot {name}: seed {seed}, {kind}: AP {self._rows()[-1].AP}")

    def _work(self, start: str, pilot: str) -> "Work":
        return Work(self, recipe(self.place.config, self.protocol, self.recipes, start, pilot, self.place.results))

    def progress(self, start: str) -> str:
        """Where a start stands, in one line."""
        rows = counted(self._rows(), start)
        seconds = {}
        for name in FRAMEWORKS:
            own = [row.seconds for row in rows if row.framework == name and row.seconds is not None]
            seconds[name] = fmean(own) if own else 0.0
        return f"{self.name}, {progress(judge(rows, self.protocol, start), self.protocol, seconds)}"

    def _rows(self) -> list[Row]:
        return read_rows(self.place.rows)

    def _missing(self, work: "Work", seed: int) -> list[Key]:
        """Runs of a seed that have no row."""
        bits, have = self.protocol.last_bits, {row.key for row in self._rows()}
        keys = []
        for draw in range(self.protocol.draws + 1):
            arm, kind = ("null", bits.others) if draw else ("main", bits.first)
            keys += [work.key(arm, seed, draw, kind, framework) for framework in FRAMEWORKS]
        return [key for key in keys if key not in have]


class Work:
    """Runs of one recipe: data, weights, training, exam, row."""

    def __init__(self, study: Study, plan: Recipe):
        self.study, self.plan, self.place, self.adding = study, plan, study.place, Lock()
        label = f"{plan.start}-{plan.name}" if plan.name else plan.start
        # A half-trained run of other code or configuration is not continued: it lies in another folder.
        self.folder = study.place.results / study.name / f"{label}-{digest([plan.identity, self.code])[:8]}"

    @cached_property
    def code(self) -> dict[str, str]:
        """Digest of each framework's code when the work began."""
        return {name: code_of(self.place.root, name, self.plan.run.model) for name in FRAMEWORKS}

    @cached_property
    def data(self) -> dict[str, Any]:
        """Places of training data and exam, and one digest of both."""
        train, exam = (prepared(data, self.place.results) for data in (self.plan.data, self.plan.exam))
        return {"train": train[0], "exam": exam[0], "digest": digest([train[1], exam[1]])[:DIGITS]}

    @cached_property
    def base(self) -> tuple[Path | None, str]:
        """(weights of the common checkpoint, their digest); trained by the first call that needs it."""
        if self.plan.base is None:
            return None, ""
        identity = digest([self.plan.base.plain(), self.code[INITIALISER]])[:8]
        folder = self.place.results / self.study.name / f"base-{identity}"
        kept = folder / "final.safetensors"
        if not kept.exists():
            self.study.tell(f"{self.study.name}: training the common checkpoint in {folder}")
            seed, weights = self.study.protocol.base_seed, folder / "init.safetensors"
            self._initialise(self.plan.base, seed, weights)
            place, _ = prepared(self.plan.base_data, self.place.results)
            run = self.plan.base.but(data=place).run(INITIALISER, seed, str(weights))
            config = _write(folder / "run.yaml", run)
            self._must("train", INITIALISER, ["--config", config, "--out", str(folder)], folder)
            final = folder / read_json(folder / "run.json")["final_weights"]
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            final.rename(kept)
        return kept, weights_digest(kept)

    def shared(self, framework: str) -> dict[str, str]:
        """The digests of a row that the work decides."""
        own = {"code": self.code[framework], "configuration": self.plan.identity}
        return own | {"data": self.data["digest"], "base": self.base[1]}

    def key(self, arm: str, seed: int, draw: int, last_bits: Kind, framework: str) -> Key:
        """The key of a run of this recipe."""
        return Key(self.plan.start, self.plan.name, arm, seed, draw, last_bits, framework, self.plan.identity)

    def check_rows(self) -> None:
        """Raise UserError, naming the digest, where the rows so far were made by something else."""
        rows = counted(read_rows(self.place.rows), self.plan.start)
        check_shared(rows, self.place.rows)
        for row in rows:
            for name, now in self.shared(row.framework).items():
                if getattr(row, name) != now:
                    raise UserError(
                        f"{self.place.rows}: {name}: the {SHARED[name]} of {row.framework} is {now} now, but"
                        f" {getattr(row, name)} in the row of seed {row.seed}; a study goes on with the same one only"
                    )

    def do_all(self, keys: list[Key], jobs: int) -> None:
        """Runs of one seed, `jobs` at a time. After an error no other one begins, and it is raised at the end."""
        stopped = Event()

        def one(key: Key) -> None:
            if stopped.is_set():
                return
            try:
                self.do(key)
            except BaseException:
                stopped.set()
                raise

        for key in keys:
            self.initial(key)
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, keys))

    def do(self, key: Key) -> None:
        """One run, from its initial weights to its row. Raises UserError when it was stopped from outside."""
        folder = self.folder / key.framework / f"s{key.seed}-d{key.draw}-{key.last_bits}"
        log, weights = folder / "run.log", self.initial(key)
        run = self.plan.run.but(data=self.data["train"]).run(key.framework, key.seed, str(weights))
        config = _write(folder / "run.yaml", run)
        status = 0
        if not (folder / "run.json").exists():
            status = self._call(key.framework, ["train", "--config", config, "--out", str(folder)], log)
        if status == 0:
            exam = _write(folder / "exam.yaml", run.but(data=self.data["exam"]))
            final = str(folder / read_json(folder / "run.json")["final_weights"])
            words = ["--loss-images", str(self.study.protocol.exam.loss_images), "--out", str(folder / "exam.json")]
            status = self._call(key.framework, ["exam", "--config", exam, "--weights", final, *words], log)
        if self.code[key.framework] != code_of(self.place.root, key.framework, self.plan.run.model):
            shutil.rmtree(folder)  # nobody knows which code it is of
            raise UserError(f"{folder}: the code of {key.framework} was edited while it ran, so the run is not counted")
        row = self._row(key, folder, weights, "" if status == 0 else _last_line(log) or f"ended with {status}")
        with self.adding:
            if key.arm != "pilot":
                check_shared([*counted(read_rows(self.place.rows), key.start), row], self.place.rows)
            append(self.place.rows, row)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        for path in [*folder.glob("*.safetensors"), *([] if row.done else [folder / "run.json"])]:
            path.unlink(missing_ok=True)

    def _row(self, key: Key, folder: Path, weights: Path, reason: str) -> Row:
        """The row of a run that ended, or failed for a reason."""
        record = read_json(folder / "run.json") if (folder / "run.json").exists() else {}
        found = read_json(folder / "exam.json") if not reason else {"metrics": {}}
        scores = {name: _points(found["metrics"].get(name)) for name in SCORES}
        if not reason and scores["AP"] is None:
            reason = "the exam has nothing to measure"
        host, seconds = record.get("host"), None
        if not reason:
            seconds = round(record["seconds"] + found["seconds"], 1)
        return Row(
            **asdict(key) | self.shared(key.framework),
            **(scores if not reason else dict.fromkeys(SCORES)),
            status="failed" if reason else "done",
            loss=None if reason else found["loss"],
            initial_weights=weights_digest(weights),
            final_weights="" if reason else found["weights_sha256"][:DIGITS],
            versions=", ".join(f"{name} {value}" for name, value in record.get("versions", {}).items()),
            machine=f"{host['cpu']}, {host['cores']} cores" if host else "",
            seconds=seconds,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            reason=" ".join(reason.split()),
        )

    def initial(self, key: Key) -> Path:
        """The initial weights of a seed and draw, one file for both frameworks."""
        folder = self.folder / "weights"
        path = folder / f"s{key.seed}-d{key.draw}-{key.last_bits}.safetensors"
        if not path.exists():
            source = self.base[0]
            if source is None:
                source = folder / f"s{key.seed}.safetensors"
                if not source.exists():
                    self._initialise(self.plan.run, key.seed, source)
            formats.write(path, nudge(formats.read(source), key.last_bits, key.seed, key.draw))
        for old in folder.glob("*.safetensors*"):  # of seeds that are done
            if old.name.partition("-")[0].partition(".")[0] != f"s{key.seed}":
                old.unlink()
        return path

    def _initialise(self, run: Any, seed: int, out: Path) -> None:
        words = ["--model", run.model, "--variant", run.variant, "--num-classes", str(run.options["num_classes"])]
        words += ["--seed", str(seed), "--out", str(out), *init_arguments(run)]
        self._must("init", INITIALISER, words, out.parent)

    def _must(self, verb: str, framework: str, words: list[str], folder: Path) -> None:
        """Call a verb that every row needs."""
        log = folder / f"{verb}.log"
        status = self._call(framework, [verb, *words], log)
        if status:
            raise UserError(f"{log}: {verb} in {framework} failed: {_last_line(log) or f'it ended with {status}'}")

    def _call(self, framework: str, words: list[str], log: Path) -> int:
        """The exit status of a verb. Raises UserError when it was stopped from outside, which is no result."""
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        status = self.study.call(framework, words, log)
        if status < 0 or status >= SIGNALS:
            raise UserError(f"{log}: {words[0]} in {framework} was stopped (status {status}); the same call goes on")
        return status


def weights_digest(path: Path) -> str:
    """The first digits of the digest of a file of weights."""
    return formats.weights_sha256(formats.read(path))[:DIGITS]


def _write(path: Path, run: RunConfig) -> str:
    write_text(path, yaml.safe_dump(run.plain(), sort_keys=False, allow_unicode=True))
    return str(path)


def _points(value: float | None) -> float | None:
    """A score of 0 to 1 in points, to a ten-thousandth."""
    return None if value is None else round(100 * value, 4)


def _last_line(log: Path) -> str:
    """What a verb said last, which is why it failed."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
