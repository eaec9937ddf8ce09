"""NanoDet-Plus (RangiLyu/nanodet, config/nanodet-plus-m*.yml): a one-stage detector of a few MB, trained with a second
neck and head, which are removed after training.
"""
