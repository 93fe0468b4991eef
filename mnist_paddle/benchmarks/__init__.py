"""Speed and scaling, as ratios within one run."""

__all__ = ["ranks", "speed"]
