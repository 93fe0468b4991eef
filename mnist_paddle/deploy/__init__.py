"""A trained network in use: predictions for pictures of any kind."""

__all__ = ["inputs", "predict", "show"]
