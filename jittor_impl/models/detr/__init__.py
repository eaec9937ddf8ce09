"""DETR (Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020)."""
