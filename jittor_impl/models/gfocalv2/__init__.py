"""GFocalV2 (Li et al., "Generalized Focal Loss V2", CVPR 2021)."""
