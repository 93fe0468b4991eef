"""The two processes that draw for a run: an artist for the figures, and one that has its own Paddle for the network graph."""

import subprocess
from typing import Any, Callable, Optional

from ..system.console import Log
from ..system.paths import StrPath
from . import graph
from .artist import Artist, Job


class Drawing:
    """A context manager that ends the processes. A command starts both early (`start`).

    Without that, as in a call of `fit`, figures are drawn in this process, which imports matplotlib once for all its runs.
    """

    def __init__(self) -> None:
        self.artist: Optional[Artist] = None
        self._graph: Optional[subprocess.Popen] = None

    def __enter__(self) -> "Drawing":
        return self

    def __exit__(self, *error: object) -> None:
        if self.artist is not None:
            self.artist.close()
        if self._graph is not None:
            graph.cancel(self._graph)
        self.artist = self._graph = None

    def start(self) -> None:
        """Start both: they import matplotlib and Paddle while this process imports Paddle too, on a core that is idle then."""
        self._graph = self._graph or graph.start()
        self.artist = self.artist or Artist()

    def submit(self, call: Callable[..., bytes], *arguments: Any) -> Job:
        """Begin a call of a function of `figures.JOBS`; without the artist, `result` makes it."""
        return self.artist.submit(call, *arguments) if self.artist else Job.here(call, *arguments)

    def draw_graph(self, folder: StrPath, model: str, arguments: dict) -> None:
        """Begin to draw the network MODELS[model](**arguments) into a run folder."""
        self._graph = self._graph or graph.start()
        graph.draw(self._graph, folder, model, arguments)

    def finish_graph(self, log: Log) -> None:
        """Wait for the network graph, if it was begun; a line for `log` if it can't be drawn."""
        if self._graph is not None:
            graph.finish(self._graph, log)
            self._graph = None


class NoArtist(Artist):
    """For many short runs without figures of their own: drawing them takes longer than many a run."""

    def __init__(self) -> None:
        """No process is started."""

    def submit(self, call: Callable[..., bytes], *arguments: Any) -> Job:
        """A job without a result, of which no file is made."""
        return Job.here(bytes)

    def close(self) -> None:
        """There is nothing to end."""


class NoDrawing(Drawing):
    """Nothing is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.artist = NoArtist()

    def __exit__(self, *error: object) -> None:
        """It serves the next run too."""

    def draw_graph(self, folder: StrPath, model: str, arguments: dict) -> None:
        """Nothing is drawn."""
