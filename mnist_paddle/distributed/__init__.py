"""Several ranks: the launcher, communication, the watchdog, and the strategies that divide the work."""

__all__ = [
    "communication",
    "data_parallel",
    "launcher",
    "limits",
    "rendezvous",
    "replicas",
    "strategies",
    "strategy",
    "supervisor",
]
