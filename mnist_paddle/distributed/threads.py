"""Threads that each compute one thing at a time, beside the main thread."""

import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, Callable, NamedTuple, Optional

from ..system.device import set_math_threads

Task = Callable[[], Any]


class Outcome(NamedTuple):
    """What a task returned, or what it raised."""

    value: Any
    error: Optional[BaseException]


def attempt(task: Task) -> Outcome:
    """Call a task."""
    try:
        return Outcome(task(), None)
    except BaseException as error:  # KeyboardInterrupt too: it is raised again when the other threads are done
        return Outcome(None, error)


class Team:
    """The main thread and `size` - 1 others. `close` ends them."""

    def __init__(self, size: int) -> None:
        self.tasks: list[SimpleQueue] = [SimpleQueue() for _ in range(size - 1)]
        self.threads = [
            threading.Thread(target=_work, args=[tasks], name=f"replica {number}", daemon=True)
            for number, tasks in enumerate(self.tasks, start=1)
        ]
        for thread in self.threads:
            thread.start()

    def run(self, tasks: Sequence[Task]) -> list:
        """Run up to `size` tasks at once, the first one here, and return their values in this order.

        All have ended when it returns or raises: of several errors, that of the first task.
        """
        promises: list[SimpleQueue] = []
        for queue, task in zip(self.tasks, tasks[1:]):
            promises.append(SimpleQueue())
            queue.put((task, promises[-1]))
        outcomes = [attempt(tasks[0]), *(promise.get() for promise in promises)]
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        return [outcome.value for outcome in outcomes]

    def close(self) -> None:
        """End the threads, each after the task that it is at."""
        for queue in self.tasks:
            queue.put(None)
        for thread in self.threads:
            thread.join()


def _work(tasks: SimpleQueue) -> None:
    """The life of a thread. Tasks and their values are not kept between two of them: they hold memory."""
    set_math_threads(1)
    while (item := tasks.get()) is not None:
        task, promise = item
        promise.put(attempt(task))
        del item, task, promise
