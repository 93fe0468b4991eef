"""From bytes to batches: sources, formats, datasets, augmentation, the loader."""

__all__ = ["augment", "dataset", "loader", "pictures"]
