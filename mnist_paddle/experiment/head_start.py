"""What a command does while paddle is being imported, which takes a second on one core."""

import threading
from concurrent.futures import Future
from typing import Optional

# Here and not in the thread: two threads that import the same modules in another order get them half initialized.
from ..config import Config
from ..data.dataset import Dataset, load_dataset
from ..data.sources import is_cached
from ..distributed import communication
from ..system.console import Log
from ..system.usage import process_start
from ..tracking.drawing import Drawing


class HeadStart:
    """The processes that draw, started; the dataset, being read; and the time at which the process began.

    A context manager: afterwards the processes have ended.
    """

    def __init__(self, config: Config) -> None:
        self.began = process_start()
        self.drawing = Drawing()
        self._settings = data_settings(config)
        self._lines: list[str] = []  # what reading the data says, for the log of the run, which is not open yet
        self._dataset: Future = Future()
        if communication.is_main():
            self.drawing.start()
        threading.Thread(target=self._read, name="dataset", daemon=True).start()

    def __enter__(self) -> "HeadStart":
        return self

    def __exit__(self, *error: object) -> None:
        self.drawing.__exit__(*error)

    def _read(self) -> None:
        try:
            # Only from a complete cache: a download must be able to clean up when it is interrupted.
            cached = self._settings["data_dir"] is None and is_cached(self._settings["name"])
            self._dataset.set_result(load_dataset(**self._settings, log=self._lines.append) if cached else None)
        except BaseException as error:
            self._dataset.set_exception(error)

    def dataset(self, config: Config, log: Log) -> Optional[Dataset]:
        """The dataset, if it was read and the settings still name the same. Raises what reading it did."""
        if data_settings(config) != self._settings:
            return None
        error = self._dataset.exception()  # waits
        for line in self._lines:
            log(line)
        if error is not None:
            raise error
        return self._dataset.result()


def data_settings(config: Config) -> dict:
    """The arguments of `load_dataset` that the settings give."""
    return {
        "name": config.dataset,
        "data_dir": config.data_dir,
        "validation_size": config.validation_size,
        "validation_split": config.validation_split,
    }
