"""Detection on the user's own images: reading, detecting, and how two frameworks differ."""
