"""The confusion table of a detector: which class each object was detected as, missed and invented ones included.

Detections with at least a given score count. First come the pairs that COCOeval made within a class at IoU .50; their
number is the diagonal. The other objects and detections are paired across classes by overlap, also from .50. An
object without a partner was missed, a detection without one was invented: both go to the background.
"""

import numpy as np
from pycocotools.cocoeval import COCOeval

from parity.compare.agreement import partners
from parity.compare.precision_recall import cells

BACKGROUND = "background"


def confusion(judge: COCOeval, threshold: float) -> np.ndarray:
    """Counts [classes + 1, classes + 1]: rows are classes of objects, columns the classes they were detected as.

    Classes stand in the order of `judge.params.catIds`, the background comes last. Crowds, and detections that COCOeval
    gave to a crowd, count nowhere.
    """
    count = len(judge.params.catIds)
    table = np.zeros((count + 1, count + 1), int)
    objects: dict[int, list[tuple[int, list[float]]]] = {}  # by image: class and box of those without a pair
    detections: dict[int, list[tuple[int, list[float]]]] = {}
    for place in range(count):
        for cell in cells(judge, place):
            taken = set()
            for index, partner in enumerate(cell["dtMatches"][0]):
                if cell["dtScores"][index] < threshold or cell["dtIgnore"][0][index]:
                    continue
                if partner:
                    taken.add(int(partner))
                    table[place, place] += 1
                else:
                    box = judge.cocoDt.anns[cell["dtIds"][index]]["bbox"]
                    detections.setdefault(cell["image_id"], []).append((place, box))
            for index, identity in enumerate(cell["gtIds"]):
                if not cell["gtIgnore"][index] and identity not in taken:
                    box = judge.cocoGt.anns[identity]["bbox"]
                    objects.setdefault(cell["image_id"], []).append((place, box))
    for image in objects.keys() | detections.keys():
        left, found = objects.get(image, []), detections.get(image, [])
        pairs = partners([box for _, box in left], [box for _, box in found])
        for i, j in pairs:
            table[left[i][0], found[j][0]] += 1
        for i in set(range(len(left))) - {i for i, _ in pairs}:
            table[left[i][0], count] += 1
        for j in set(range(len(found))) - {j for _, j in pairs}:
            table[count, found[j][0]] += 1
    return table
