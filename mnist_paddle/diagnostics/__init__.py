"""What is wrong with a training and what it is made of: alarms and their checks, the verdict, finite numbers, costs."""

__all__ = [
    "alarms",
    "contracts",
    "cost",
    "finite",
    "forward",
    "inputs",
    "layer_statistics",
    "layer_table",
    "maps",
    "network_copy",
    "passes",
    "probes",
    "progress",
    "structure",
    "untouched",
    "verdict",
]
