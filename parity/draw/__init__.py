"""Pictures of images with boxes, made with Pillow alone: what every environment has."""
