"""What the Makefile hands on: ARGS and a target's own options, both of them."""

import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def snakemake(*arguments: str) -> list[str]:
    """The words of the call of Snakemake that `make` would make."""
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if "bin/snakemake " in line]
    return shlex.split(line)


def values(words: list[str], option: str) -> list[str]:
    """What stands behind the last occurrence of an option, which is the only one that Snakemake takes."""
    rest = words[len(words) - words[::-1].index(option) :]
    return rest[: next((i for i, word in enumerate(rest) if word.startswith("-")), len(rest))]


@pytest.mark.parametrize(("target", "preset"), [("bench", "bench.yaml"), ("overfit", "overfit20.yaml")])
def test_a_preset_stays_and_the_users_file_overrides_it(target, preset):
    preset = f"config/presets/{preset}"
    assert values(snakemake(target), "--configfile") == [preset]
    words = snakemake(target, "ARGS=--configfile my.yaml --config threads=1")
    assert values(words, "--configfile") == [preset, "my.yaml"] and values(words, "--config") == ["threads=1"]


def test_what_is_reproduced_stays_beside_the_users_keys():
    asked = ("reproduce", "MODEL=nanodet", "VARIANT=plus-m_416", "COCO=/data/my coco", "IMAGES=5")
    section = ["variant=plus-m_416", 'reproduce={"coco": "/data/my coco", "images": 5}']
    assert values(snakemake(*asked), "--config") == section
    assert values(snakemake(*asked, "ARGS=--config threads=1 results=r"), "--config") == [
        *section,
        "threads=1",
        "results=r",
    ]
    words = snakemake(*asked, "ARGS=--configfile my.yaml")
    assert values(words, "--config") == section and values(words, "--configfile") == ["my.yaml"]
