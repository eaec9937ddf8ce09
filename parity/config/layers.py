"""Configuration files are read, and laid over each other."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from parity.config.section import Plain
from parity.errors import UserError

MOST_VALUES = 100_000  # in a YAML file; anchors inside anchors make billions of values from a few lines


def read_yaml(path: str | Path) -> Any:
    """Parse YAML without constructing anything but plain data. Raises UserError naming file and line."""
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}: is not valid YAML{where}: {getattr(error, 'problem', error)}") from error
    except RecursionError as error:
        raise UserError(f"{path}: is nested too deeply to be a configuration") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # a value that is not of the type its tag says
        raise UserError(f"{path}: is not valid YAML: {error}") from error
    pending, count = [value], 0
    while pending:
        item = pending.pop()
        pending += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        count += 1
        if count > MOST_VALUES:
            raise UserError(f"{path}: has more than {MOST_VALUES} values once its anchors are written out")
    return value


def merge(base: Any, over: Any) -> Any:
    """`over` on top of `base`: mappings merge key by key, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {key: merge(base.get(key), over[key]) if key in over else base[key] for key in [*base, *over]}
    return base if over is None and isinstance(base, dict) else over


def parse_settings(pairs: Iterable[str]) -> Plain:
    """`["epoch=10", "eval_spatial_size=[320,320]"]` to a dict; values are JSON, a bare word is a string."""
    settings = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise UserError(f"--set {pair!r}: expected key=value")
        try:
            settings[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {pair!r}: the value is not valid JSON") from error
    return settings
