"""The computations of dense detectors as plain loops over single boxes: references for both frameworks' tests."""


def iou(a, b) -> float:
    """The value for two xyxy boxes; 0 if neither has an area."""
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


def atss(shapes, strides, size, boxes, candidates: int, scale: float) -> list[int]:
    """ATSS, one anchor and one box after the other; 0 or the number of the box for every anchor."""
    anchors, level_of = [], []
    for level, ((h, w), stride) in enumerate(zip(shapes, strides, strict=True)):
        for y in range(h):
            for x in range(w):
                anchors.append((x * stride, y * stride, scale * stride / 2))
                level_of.append(level)
    best = [(0.0, 0)] * len(anchors)  # overlap and number of the box
    for number, box in enumerate([[float(v) for v in box] for box in boxes], 1):
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        near = []
        for level in range(len(shapes)):
            inside = [i for i, (x, y, _) in enumerate(anchors) if level_of[i] == level and x < size[1] and y < size[0]]
            inside.sort(key=lambda i: ((anchors[i][0] - cx) ** 2 + (anchors[i][1] - cy) ** 2, i))
            near += inside[:candidates]
        overlaps = [iou([x - r, y - r, x + r, y + r], box) for x, y, r in (anchors[i] for i in near)]
        mean = sum(overlaps) / len(overlaps)
        deviation = (sum((v - mean) ** 2 for v in overlaps) / (len(overlaps) - 1)) ** 0.5
        for i, overlap in zip(near, overlaps, strict=True):
            x, y, _ = anchors[i]
            within = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 0.01
            if within and overlap >= mean + deviation and (best[i][1] == 0 or overlap > best[i][0]):
                best[i] = (overlap, number)
    return [number for _, number in best]
