"""A font that can write the names of classes: matplotlib's own or an installed one. Without one, numbers are written.

DejaVu Sans comes with matplotlib and writes Latin, Greek and Cyrillic letters, but no Chinese, Japanese or Korean ones:
a letter that a font lacks is drawn as an empty box, and no reader can use that.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

OWN = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
PREFERRED = ("Noto Sans CJK SC", "Source Han Sans", "WenQuanYi", "PingFang", "Microsoft YaHei", "SimHei", "Noto Sans")


@dataclass(frozen=True)
class Lettering:
    """Names as they can be drawn, the file of the font, and matplotlib's families to draw them with."""

    names: dict[int, str]
    file: Path
    families: list[str]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def lettering(names: Mapping[int, str], say: Callable[[str], None] = _say) -> Lettering:
    """How to write class names, by id. A name that no font can write becomes `class <id>`, and one line says so."""
    lacking = _lacking(OWN, "".join(names.values()))
    if not lacking:
        return Lettering(dict(names), OWN, ["DejaVu Sans"])
    for font in _installed():
        if not _lacking(Path(font.fname), lacking):
            return Lettering(dict(names), Path(font.fname), ["DejaVu Sans", font.name])
    say(
        f"figures: no installed font has {' '.join(sorted(lacking)[:10])}; such classes are shown by their numbers."
        " A font like Noto Sans CJK (package fonts-noto-cjk) helps"
    )
    shown = {identity: f"class {identity}" if lacking & set(name) else name for identity, name in names.items()}
    return Lettering(shown, OWN, ["DejaVu Sans"])


def _installed() -> Iterable[font_manager.FontEntry]:
    """Installed fonts of the usual weight, well-known ones first; always in the same order."""
    upright = [f for f in font_manager.fontManager.ttflist if f.style == "normal" and f.weight in (400, "normal")]

    def place(font: font_manager.FontEntry) -> tuple[int, str, str]:
        known = (i for i, name in enumerate(PREFERRED) if font.name.startswith(name))
        return next(known, len(PREFERRED)), font.name, font.fname

    return sorted(upright, key=place)


def _lacking(file: Path, text: Iterable[str]) -> set[str]:
    """Characters of a text that a font has no glyph for; all of them if the font cannot be read."""
    try:
        known = FT2Font(str(file)).get_charmap()
    except (OSError, RuntimeError):
        return set(text)
    return {sign for sign in text if ord(sign) not in known and not sign.isspace()}
