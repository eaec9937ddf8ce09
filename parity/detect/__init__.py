"""Detection on the user's own images: reading, drawing, and how two frameworks differ."""
