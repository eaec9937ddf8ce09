"""Code that the readers of JSON lines share."""

import json
from typing import Any

LONGEST = 4_000_000  # characters of one record


def record_of(text: str) -> dict[str, Any] | None:
    """The object on a line, None when there is none (a torn or damaged line included)."""
    text = text.strip()
    if not text.startswith("{") or len(text) > LONGEST:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
