"""A graph as a picture: measured boxes, layers from the top down, curves between them, SVG."""
