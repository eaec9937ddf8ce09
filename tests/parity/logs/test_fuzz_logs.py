"""Whatever bytes are thrown at the readers: a record or one clear line, never another exception."""

import json
import random

import generated_logs as generated
from generated_logs import Truth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parity.errors import UserError
from parity.logs import audit, signs, speed
from parity.logs.read import read_file

LOGS = {name: "\n".join(make(Truth(epochs=2, every=25))) + "\n" for name, make in generated.TEXT.items()}
LOGS["progress_bar"] = generated.progress_bar(Truth(epochs=2, every=25))
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
ODD = [
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-1",
    "9" * 400,
    "",
    "null",
    "[]",
    "{}",
    '"',
    "\x00",
    "\r",
    "\x1b[0m",
    "损失",
    "|",
    "[1/0]",
    "0/0",
]


def survives(path, content: bytes) -> None:
    """Everything that is done with a log, on these bytes."""
    path.write_bytes(content)
    try:
        runs = read_file(path)
    except UserError as error:
        assert "\n" not in str(error)
        return
    for run in runs:
        assert 0 <= run.first_line <= run.last_line
        for name in ("AP", "AP50", "AR100"):
            assert all(not value > 1 and not value < 0 for value in run.evaluations.column(name))
    first = runs[0]
    found = signs.signs([first, runs[-1]])
    audit.audit([first, runs[-1]], bool(found))
    speed.compare(first, runs[-1])


@QUICK
@given(st.binary(max_size=3000))
def test_any_bytes(tmp_path_factory, content):
    survives(tmp_path_factory.getbasetemp() / "any", content)


@QUICK
@given(st.sampled_from(sorted(LOGS)), st.integers(0, 2**32))
def test_damaged_logs(tmp_path_factory, name, seed):
    """A log with lines dropped, doubled, shuffled, cut, and with tokens replaced."""
    rng = random.Random(seed)
    lines = LOGS[name].split("\n")
    for _ in range(rng.randint(1, 12)):
        place = rng.randrange(len(lines))
        kind = rng.randrange(6)
        if kind == 0:
            lines[place] = lines[place][: rng.randrange(len(lines[place]) + 1)]
        elif kind == 1:
            lines.insert(place, rng.choice(lines))
        elif kind == 2 and len(lines) > 2:
            del lines[place]
        elif kind == 3:
            words = lines[place].split(" ")
            words[rng.randrange(len(words))] = rng.choice(ODD)
            lines[place] = " ".join(words)
        elif kind == 4:
            lines[place] += rng.choice(lines)
        else:
            other = rng.choice(LOGS[rng.choice(sorted(LOGS))].split("\n"))
            lines.insert(place, other)
    content = "\n".join(lines).encode("utf-8", "replace")
    if rng.random() < 0.3:
        at = rng.randrange(len(content) + 1)
        content = content[:at] + rng.randbytes(rng.randint(1, 30)) + content[at:]
    survives(tmp_path_factory.getbasetemp() / "damaged", content)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
KEYS = ["epoch", "step", "iter", "mode", "kind", "total", "losses", "lr", "seconds", "metrics", "time", "loss", "train_loss",  # noqa: E501
        "test_coco_eval_bbox", "n_parameters", "bbox_mAP", "env_info", "config", "images", "mAP"]  # fmt: skip


@QUICK
@given(
    st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8), min_size=1, max_size=8),
    st.sampled_from(sorted(LOGS)),
)
def test_json_of_any_types(tmp_path_factory, records, name):
    text = LOGS[name] if name in ("own", "detr_log", "mmcv_json", "json_lines") else ""
    content = text + "\n".join(json.dumps(record) for record in records)
    survives(tmp_path_factory.getbasetemp() / "json", content.encode("utf-8", "surrogatepass"))


def test_damaged_event_files(tmp_path):
    generated.events(Truth(epochs=2, every=25), tmp_path / "events")
    whole = next((tmp_path / "events").iterdir()).read_bytes()
    rng = random.Random(0)
    for _ in range(60):
        data = bytearray(whole[: rng.randrange(1, len(whole) + 1)])
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        survives(tmp_path / "damaged", bytes(data))
