"""The examples in docstrings give the output they show. The package's own example trains on MNIST and is left to the guides.

PyTorch, which one benchmark needs, is not installed beside Paddle.
"""

import doctest
import importlib
import pkgutil

import pytest

import mnist_paddle

pytestmark = pytest.mark.usefixtures("clean_tables")  # a module of plugins registers them
MODULES = [module.name for module in pkgutil.walk_packages(mnist_paddle.__path__, "mnist_paddle.")]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith(("__main__", "plain_torch"))])
def test_docstring_examples_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
