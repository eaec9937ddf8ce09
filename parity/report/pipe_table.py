"""Tables in Markdown: a line of names, a line of alignments, and a line for every row, with bars between cells."""

from collections.abc import Container, Iterable, Sequence
from typing import Any


def pipe_table(head: Sequence[str], rows: Iterable[Iterable[Any]], left: Container[int] = range(1)) -> str:
    """A table whose columns at the places `left` are aligned to the left, the others to the right.

    Cells stand as they are: `parity.report.report.cell` escapes text that could break a table.
    """
    marks = ["---" if place in left else "---:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in (head, marks, *rows))
