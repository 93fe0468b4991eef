"""Using a trained network: predictions for pictures of any kind."""

__all__ = ["inputs", "predict", "show"]
