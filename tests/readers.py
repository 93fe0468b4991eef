"""What tests of the readers share: results compared, refusals looked at, settings of the fuzzing."""

import numpy as np
import pytest
from hypothesis import HealthCheck

from mnist_paddle import UsageError
from mnist_paddle.data.formats import read

FUZZING = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


def by_class(digits):
    """Digits in the order of their class folders."""
    order = np.argsort(digits[1], kind="stable")
    return digits[0][order], digits[1][order]


def same(raw, parts):
    """A reader's result is exactly these parts, in memory that NumPy owns as bytes."""
    assert raw.splits.keys() == parts.keys()
    for name, (images, labels) in parts.items():
        assert raw.splits[name][0].dtype == raw.splits[name][1].dtype == np.uint8
        np.testing.assert_array_equal(raw.splits[name][0], images)
        np.testing.assert_array_equal(raw.splits[name][1], labels)


def rejected(path, *words):
    """Read a bad file; the error is one short line that contains all words."""
    with pytest.raises(UsageError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    for word in words:
        assert word in text
    return text


def rejected_by_name(path, *words):
    """The same; the error also names the file."""
    return rejected(path, path.name, *words)
