"""The last work on a run of a log, once it has been read: late tables, the scale of metrics, the axis of steps."""

from array import array
from math import isnan, nan

from parity.data.entries import AP_METRICS
from parity.logs.names import RECALLS
from parity.logs.record import Note, Run


def assign_tables(run: Run, tables: list[tuple[int, dict[str, float]]]) -> None:
    """Assign COCO tables that no evaluation line claimed: they were printed late, in the order of evaluations."""
    if not tables:
        return
    table = run.evaluations
    if (
        len(tables) == len(table)
        and table.stride == 1
        and all(
            abs(found[name] - table.columns[name][i]) < 0.00051
            for i, (_, found) in enumerate(tables)
            for name in AP_METRICS
            if name in found and name in table.columns and not isnan(table.columns[name][i])
        )
    ):
        for name in dict.fromkeys(n for _, found in tables for n in found):
            if name not in table:
                table.columns[name] = array("d", [found.get(name, nan) for _, found in tables])
        run.notes.append(Note("tables in order", (tables[0][0], tables[-1][0]), {"count": len(tables)}))
    elif len(tables) == 1 and not len(table):
        row = {"at": float(run.epochs.column("epoch")[-1]) if len(run.epochs) else 0.0, "line": float(tables[0][0])}
        if len(run.epochs):
            row["epoch"] = row["at"]
        table.add(row | tables[0][1])
        run.first_line = run.first_line or tables[0][0]
        run.last_line = max(run.last_line, tables[0][0])
    else:
        run.notes.append(
            Note("tables unclaimed", (tables[0][0], tables[-1][0]), {"count": len(tables), "evaluations": len(table)})
        )


def to_fractions(run: Run) -> None:
    """Bring metrics to 0..1: if one is above 1, the log gives all of them in points."""
    table = run.evaluations
    names = [n for n in (*AP_METRICS, *RECALLS) if n in table.columns]
    for name in names:
        for i, value in enumerate(table.columns[name]):
            if value < 0 or value > 100:
                table.columns[name][i] = nan
    if any(value > 1 for name in names for value in table.columns[name]):
        for name in names:
            for i, value in enumerate(table.columns[name]):
                table.columns[name][i] = value / 100
        run.notes.append(Note("points", (), {}))


def positions(run: Run) -> None:
    """Column `x`: iterations since the start of training, for the axis of figures.

    Where a log counts within epochs and does not say how many iterations one has, the largest it shows is taken.
    """
    steps = run.steps
    if "step" in steps.names() or "iter" not in steps.names() or "epoch" not in steps.names():
        steps.columns["x"] = array("d", steps.columns["order"])
        return
    epochs, iterations = steps.columns["epoch"], steps.columns["iter"]
    known = run.fact("iterations per epoch")
    if not known:
        known = max(iterations)
        run.notes.append(Note("axis", (), {"iterations": known}))
    base = 0 if epochs[0] == 0 else 1
    steps.columns["x"] = array("d", [(e - base) * known + i for e, i in zip(epochs, iterations, strict=True)])
