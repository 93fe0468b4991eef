"""The article's claims as experiments, and the audit of labels."""

__all__ = ["audit"]
