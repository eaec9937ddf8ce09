"""Speed and memory, and how fast the machine itself is meanwhile."""
