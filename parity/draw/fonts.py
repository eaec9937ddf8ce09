"""A font that can write the class names: the installed one that has every glyph, else Pillow's own."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from PIL import ImageFont

FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/System/Library/Fonts")
NEVER = "\U0010ffff"  # a code point that no font has: its picture is the font's box for "no such glyph"


def has_glyphs(font: ImageFont.FreeTypeFont, text: str) -> bool:
    """Whether the font draws no character of `text` as its picture for a missing glyph."""
    missing = bytes(font.getmask(NEVER))
    return all(bytes(font.getmask(letter)) != missing for letter in set(text) if not letter.isspace())


@cache
def _installed(folders: Sequence[str]) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        found += sorted(p for p in Path(folder).expanduser().rglob("*") if p.suffix.lower() in (".ttf", ".otf", ".ttc"))
    return sorted(found, key=lambda path: "regular" not in path.name.lower())


def font_for(names: Iterable[str], size: int, folders: Sequence[str] = FOLDERS) -> tuple[ImageFont.FreeTypeFont, str]:
    """(font, complaint) for class names, letters `size` pixels high; no complaint where every glyph is there."""
    text = "".join(names)
    own = ImageFont.load_default(size)
    if has_glyphs(own, text):
        return own, ""
    for path in _installed(tuple(folders)):
        try:
            font = ImageFont.truetype(path, size)
        except OSError:
            continue
        if has_glyphs(font, text):
            return font, ""
    lacking = sorted({letter for letter in text if not letter.isspace() and not has_glyphs(own, letter)})
    return own, (
        f"no installed font has the glyphs of {''.join(lacking[:8])}; class names show boxes instead"
        " (a package such as fonts-noto-cjk has them)"
    )
