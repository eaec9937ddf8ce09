"""Facts about the models that belong to no framework."""

from parity.weights.models import detr, gfocalv2, nanodet, rtdetr

FACTS = {"rtdetr": rtdetr.FACTS, "detr": detr.FACTS, "gfocalv2": gfocalv2.FACTS, "nanodet": nanodet.FACTS}
