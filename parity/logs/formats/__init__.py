"""One reader per log format; `parity.logs.read` chooses among them by content."""
