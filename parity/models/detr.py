"""DETR beyond its layers: how its tensors start and which of them files may lack or name otherwise."""

from parity.models.facts import ModelFacts

FACTS = ModelFacts(rules=[], backbone_prefix="backbone.0.body.", class_heads=r"class_embed\..*")
