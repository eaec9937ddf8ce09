"""Detection on the user's own images: what is read, what is drawn, how two frameworks differ on it."""
