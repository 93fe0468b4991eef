"""What is wrong with a training: numbers that are not finite, and the layer they come from."""

__all__ = ["finite"]
