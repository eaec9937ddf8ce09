"""The figures of a report; `parity.report.figures.draw` writes them."""
