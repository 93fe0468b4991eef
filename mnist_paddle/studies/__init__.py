"""Experiments made of trainings: the article's claims, the range test of learning rates, runs side by side."""

__all__ = ["comparison", "language", "page", "rate_range", "runs", "study", "tables"]
