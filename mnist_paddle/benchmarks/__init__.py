"""Speed and scaling, as ratios within one run."""

__all__ = ["made_pictures", "picture_accuracy", "ranks", "speed"]
