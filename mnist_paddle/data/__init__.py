"""From bytes to batches: sources, formats, datasets, augmentation, the loader."""

__all__ = ["augment", "brightness", "checks", "corrections", "dataset", "findings", "loader", "page", "pictures", "sources"]
