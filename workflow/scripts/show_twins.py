"""Print the share of lines in which the twins of the two frameworks differ: what a port to Jittor has to change.

python workflow/scripts/show_twins.py           # a table in Markdown
"""

import difflib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def lines(path: Path) -> list[str]:
    """Lines of a file without the blank ones."""
    return [line for line in path.read_text().splitlines() if line.strip()]


def twins(root: Path = ROOT) -> list[str]:
    """Paths, inside torch_impl and jittor_impl alike, of the files that both frameworks have."""
    found = [
        {str(path.relative_to(root / f"{name}_impl")) for path in (root / f"{name}_impl").rglob("*.py")}
        for name in ("torch", "jittor")
    ]
    return sorted(path for path in found[0] & found[1] if lines(root / "torch_impl" / path))


def differing(original: list[str], twin: list[str]) -> tuple[int, int]:
    """Lines that stand in one of two files only, and the lines of both."""
    matched = sum(block.size for block in difflib.SequenceMatcher(None, original, twin, False).get_matching_blocks())
    total = len(original) + len(twin)
    return total - 2 * matched, total


def main() -> None:
    differ, total = 0, 0
    print("| File | PyTorch lines | Jittor lines | differ |\n| --- | ---: | ---: | ---: |")
    for path in twins():
        original, twin = lines(ROOT / "torch_impl" / path), lines(ROOT / "jittor_impl" / path)
        counted = differing(original, twin)
        differ, total = differ + counted[0], total + counted[1]
        print(f"| {path} | {len(original)} | {len(twin)} | {counted[0] / counted[1]:.0%} |")
    print(f"| all | | | {differ / total:.0%} |")


if __name__ == "__main__":
    main()
