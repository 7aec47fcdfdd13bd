"""From a graph to text and pictures. Renderers do not know each other."""
