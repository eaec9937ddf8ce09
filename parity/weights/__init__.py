"""Weights: reading, writing, converting and drawing them."""
