"""Names of classes are drawn in a font that has their signs, or not at all."""

from types import SimpleNamespace

import pytest

from parity.data import fonts

NAMES = {1: "cat", 2: "Ёж é ß", 7: "猫|dog"}


def no_lines(line):
    raise AssertionError(line)


def test_names_that_matplotlibs_own_font_has_stay(monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: no_lines("no other font is looked for"))
    found = fonts.lettering({1: "cat", 2: NAMES[2]}, no_lines)
    assert found.names == {1: "cat", 2: NAMES[2]} and found.families == ["DejaVu Sans"] and found.file.is_file()


def test_without_a_font_the_class_is_named_by_its_number_and_one_line_says_so(monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: [SimpleNamespace(name="Own", fname=str(fonts.OWN))])
    said = []
    found = fonts.lettering(NAMES, said.append)
    assert found.names == {1: "cat", 2: NAMES[2], 7: "class 7"}
    assert len(said) == 1 and "猫" in said[0] and "Noto Sans CJK" in said[0]


def test_an_installed_font_with_the_signs_is_taken(monkeypatch, tmp_path):
    other = SimpleNamespace(name="With", fname=str(tmp_path / "with.ttf"))
    broken = SimpleNamespace(name="Broken", fname=str(tmp_path / "none.ttf"))
    lacking = fonts._lacking
    monkeypatch.setattr(fonts, "_installed", lambda: [broken, other])
    monkeypatch.setattr(fonts, "_lacking", lambda file, text: set() if file.name == "with.ttf" else lacking(file, text))
    found = fonts.lettering(NAMES, no_lines)
    assert found.names == NAMES and found.families == ["DejaVu Sans", "With"] and str(found.file) == other.fname


@pytest.mark.parametrize("name", ["Noto Sans CJK SC", "WenQuanYi Zen Hei"])
def test_well_known_fonts_come_first(monkeypatch, name):
    listed = [SimpleNamespace(name=n, fname=n, style="normal", weight=400) for n in ("A", name, "B")]
    monkeypatch.setattr(fonts.font_manager.fontManager, "ttflist", listed)
    assert [font.name for font in fonts._installed()] == [name, "A", "B"]
