"""Speed and scaling, as ratios within one run; records over many seeds."""

__all__ = [
    "context",
    "growth",
    "made_pictures",
    "parts",
    "peak",
    "picture_accuracy",
    "ranks",
    "record",
    "results",
    "step",
    "training",
    "whole",
    "worker",
]
