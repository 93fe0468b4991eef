"""The audit of labels: which images are labeled wrongly, by cross-validation."""

__all__ = ["labels"]
