"""What a run records: VisualDL, metrics.jsonl, figures, the network graph, the progress bar."""

__all__ = ["curves", "graph", "libraries", "names", "plots", "progress"]
