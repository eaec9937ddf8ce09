"""The report on imported logs: both languages, self-contained, nothing filled in."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "logs"))

import compare_logs
import generated_logs as generated
from generated_logs import Truth

from parity.report.figures.imported import DRAW, NINE

REAL = Path(__file__).resolve().parents[4] / "shared" / "logs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The report on a jittordet and an MMDetection log, through the command."""
    path = tmp_path_factory.mktemp("imported")
    first = generated.write(path / "a|b.log", generated.jittordet(Truth(epochs=4, per_epoch=100)))
    second = generated.write(path / "b.log", ["# simulated", *generated.mmengine(Truth(epochs=4, seed=1))])
    out = path / "report"
    arguments = [first, second, "--names", "Jittor,PyTorch", "--model", "gfl", "--out", str(out), "--images", "200,200"]
    assert compare_logs.main(arguments) == 0
    return out


def test_every_figure_and_table_is_there(folder):
    assert set(NINE) <= set(DRAW) and len(NINE) == 9
    for stem in DRAW:
        assert (folder / "figures" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "figures" / f"{stem}.svg").stat().st_size > 2000
    assert {p.stem for p in (folder / "tables").iterdir()} == {"per_epoch", "best_last", "per_class", "audit"}


@pytest.mark.parametrize("suffix", ["", ".zh"])
def test_page_needs_nothing_from_outside(folder, suffix):
    page = (folder / f"report{suffix}.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == len(DRAW)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page) and "<script" not in page


def test_headline_reasons_and_observations(folder):
    text = (folder / "report.md").read_text(encoding="utf-8")
    headline = next(line for line in text.splitlines() if line.startswith("> **"))
    assert headline.startswith("> **Not comparable**: different iterations per epoch (100 against 50)")
    assert "batch size by Jittor" in headline and "training images" not in headline
    assert "The text speaks of simulation" in text and "mean since the start of the run" in text
    assert "per image: not to be said: a log does not record what it takes" in text
    assert "200" in next(line for line in text.splitlines() if line.startswith("| training images"))


def test_both_languages_say_the_same_numbers(folder):
    english, chinese = ((folder / f"report{s}.md").read_text(encoding="utf-8") for s in ("", ".zh"))

    def numbers(text: str) -> list[str]:
        cells = " ".join(line for line in text.splitlines() if line.startswith("|"))
        return sorted(re.findall(r"\d+\.\d+", cells))

    assert numbers(english) == numbers(chinese) and len(numbers(english)) > 40
    assert len(re.findall(r"^#+ ", english, re.M)) == len(re.findall(r"^#+ ", chinese, re.M))


def test_one_log_alone(tmp_path, capsys):
    log = generated.write(tmp_path / "x", generated.detr_log(Truth()))
    assert compare_logs.main([log, "--out", str(tmp_path / "r")]) == 0
    assert "nothing to compare" in capsys.readouterr().out
    assert "One log, nothing to compare with" in (tmp_path / "r" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--names", "one"], "expected 2 names"),
        (["--batch", "1,2,3"], "expected one value per log"),
        (["--images", "many"], "expected a whole number"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(arguments, words, tmp_path, capsys):
    log = generated.write(tmp_path / "x", generated.own(Truth()))
    other = generated.write(tmp_path / "y", generated.own(Truth(seed=1)))
    assert compare_logs.main([log, other, "--out", str(tmp_path / "r"), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.skipif(not REAL.exists(), reason="the real logs are private and not beside this checkout")
def test_the_published_gfocalv2_comparison():
    """Its averages come out as published, to the digit; made alike, the claim turns round."""
    from parity.logs import speed
    from parity.logs.read import read

    pair = REAL / "gfocalv2_pair"
    jittor = read(str(pair / "comparison_results_jittor_jittor_train_full_output.log"))
    torch = read(str(pair / "comparison_results_pytorch_pytorch_train_full_output.log"))
    made = speed.compare(jittor, torch)
    assert [t.author for t in made.timings] == pytest.approx([0.18220416666666664, 0.2117625], rel=1e-12)
    assert [t.iterations for t in made.timings] == [49, 25]
    assert made.per_epoch.high < 0.75 and made.per_image is None
