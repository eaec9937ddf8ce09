"""Rung 4: the detections."""

from collections import Counter

import numpy as np

from parity.align.files import Arrays, Probe
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES

SHORTEST_LIMIT = 100  # detections per image, of all models


def detections(first: Probe, second: Probe) -> Rung:
    """Every detection has a partner of its label, score and box; any order.

    At the shaken weights and, because a detector with a threshold finds nothing there, at those that the first
    framework's trajectory ends with.
    """
    rung = Rung(4, "post-processing")
    rung.details |= {"largest_difference_of_partners": {"score": 0.0, "box": 0.0}, "detections": 0}
    _partners(rung, first.eval, second.eval, first, second, "")
    if first.final is not None and second.final is not None:
        _partners(rung, first.final, second.final, first, second, "trained, ")
    if not rung.details["detections"]:
        rung.incomplete("neither framework detects anything on these images")
    return rung


def _partners(rung: Rung, found: Arrays, found2: Arrays, first: Probe, second: Probe, when: str) -> None:
    """Judge the detections of all images in two sets of arrays."""
    score, box, share = (TOLERANCES[name].limit for name in ("score", "box", "detections"))
    largest = rung.details["largest_difference_of_partners"]
    for i, (height, width) in enumerate(first.batches["0/sizes"]):
        keys = [f"detections/img{i}/{part}" for part in ("boxes", "scores", "labels")]
        if any(key not in found2 for key in keys):
            rung.problem(f"{when}image {i}: no detections in {second.framework}")
            rung.count("images", 1, 0)
            continue
        rung.count("images", 1, 1)
        (boxes, scores, labels), (boxes2, scores2, labels2) = ([side[k] for k in keys] for side in (found, found2))
        rung.details["detections"] += len(scores)
        rung.count("detections", max(len(scores), len(scores2)), max(len(scores), len(scores2)))
        if len(scores) != len(scores2):
            rung.problem(f"{when}image {i}: {len(scores)} detections and {len(scores2)}")
        free, lost, missing = np.ones(len(scores2), bool), [], Counter()
        # A list that reached its limit was cut: its last entries may be missing in the other list. A short one was not.
        floor = scores.min() + score if len(scores) >= SHORTEST_LIMIT else -np.inf
        for k in range(len(scores)):
            far = np.abs(boxes2 - boxes[k]).max(axis=1, initial=0) / max(height, width)
            apart = np.abs(scores2 - scores[k])
            fits = np.flatnonzero(free & (labels2 == labels[k]) & (apart <= score) & (far <= box))
            if fits.size:
                j = fits[(apart + far)[fits].argmin()]
                free[j] = False
                largest["score"] = max(largest["score"], float(apart[j]))
                largest["box"] = max(largest["box"], float(far[j]))
            elif scores[k] > floor:
                lost.append(k)
                missing[_want(labels2 == labels[k], apart <= score, far <= box)] += 1
        where = f"{when}image {i}: {len(lost)} of {len(scores)} without a partner"
        if lost:
            k = lost[0]
            where += f", most for want of an equal {missing.most_common(1)[0][0]}"
            where += f", first label {labels[k]}, score {scores[k]:.5f}, box {np.round(boxes[k], 2).tolist()}"
        rung.number(len(lost) / max(1, len(scores)), share, "share", where)


def _want(label: np.ndarray, score: np.ndarray, box: np.ndarray) -> str:
    """What alone keeps a detection from a partner; "detection" where nothing else fits either. All bool [n]."""
    for name, others in (("score", label & box), ("label", score & box), ("box", label & score)):
        if others.any():
            return name
    return "detection"
