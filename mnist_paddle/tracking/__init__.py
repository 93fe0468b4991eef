"""What a run records: VisualDL, metrics.jsonl, figures, the network graph, the progress bar."""

__all__ = [
    "artist",
    "curves",
    "drawing",
    "figures",
    "inspect_plots",
    "libraries",
    "names",
    "plots",
    "progress",
    "step_plots",
    "study_plots",
]
