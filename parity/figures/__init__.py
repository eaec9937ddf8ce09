"""The figures of a report; `parity.figures.draw` writes them."""
