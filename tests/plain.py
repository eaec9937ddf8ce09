"""What dense detectors compute, written as plain loops over single boxes: the references of both frameworks' tests."""


def iou(a, b) -> float:
    """Of two xyxy boxes; 0 if neither has an area."""
    a, b = [float(x) for x in a], [float(x) for x in b]
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    return w * h / union if union > 0 else 0.0


def class_nms(boxes, scores, labels, threshold: float, limit: int) -> list[int]:
    """Take the best box that is left, lower index first, and strike out what it overlaps in its class."""
    left, taken = sorted(range(len(scores)), key=lambda i: (-scores[i], i)), []
    while left and len(taken) < limit:
        best = left.pop(0)
        taken.append(best)
        left = [i for i in left if labels[i] != labels[best] or iou(boxes[i], boxes[best]) <= threshold]
    return taken
