"""Merge several measurements of one setting, each from its own process, into one.

Reports show a setting once: samples of all processes together, the highest peak of memory, the longest first call.
Conclusions about speed count processes, so every one of them stays, under `processes`.
"""

from typing import Any

import numpy as np

Profile = dict[str, Any]


def processes(profile: Profile) -> list[Profile]:
    """The measurements that a merged one was made from; an unmerged one is the only entry."""
    return profile.get("processes") or [profile]


def merge(found: list[Profile]) -> Profile:
    """Merge profiles of one setting, in the order measured. What they share is taken from the first."""
    if len(found) == 1:
        return found[0]
    first = found[0]
    latency = {stage: _joined(found, "latency", stage) for stage in first["latency"]}
    train = {part: _joined(found, "train", part) for part, value in first["train"].items() if isinstance(value, list)}
    size = first["train"]["batch_size"]
    return {
        **first,
        "latency": latency,
        "train": {"batch_size": size, **train},
        "first": {key: max(profile["first"][key] for profile in found) for key in first["first"]},
        "throughput": {
            "inference_images_per_second": 1 / float(np.median(latency["total"])),
            "train_images_per_second": size / float(np.median(train["step"])),
        },
        "memory": {
            key: max(profile["memory"][key] for profile in found) if isinstance(value, (int, float)) else value
            for key, value in first["memory"].items()
        },
        "machine": {section: _joined(found, "machine", section) for section in first["machine"]},
        "processes": found,
    }


def _joined(found: list[Profile], section: str, key: str) -> list[float]:
    return [value for profile in found for value in profile[section][key]]
