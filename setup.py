"""Metadata of the package. Paddle's CPU and GPU builds exclude each other, so each is an extra and neither is required."""

import sys

if sys.version_info < (3, 9):  # noqa: UP036  at once: pip looks at python_requires after it has got all dependencies
    sys.exit("mnist_paddle needs Python 3.9 or newer; this is Python %d.%d" % sys.version_info[:2])  # noqa: UP031

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
version = {}
exec((here / "mnist_paddle" / "version.py").read_text(), version)


class WithRecipes(build_py):
    """A wheel has the recipes of configs/ inside the package: `mnist-paddle train --config cnn`."""

    def run(self):
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "mnist_paddle", "configs")
            folder.mkdir(parents=True, exist_ok=True)
            for recipe in here.glob("configs/*.yaml"):
                self.copy_file(str(recipe), str(folder / recipe.name))


setup(
    name="mnist-paddle",
    version=version["__version__"],
    description="A PaddlePaddle toolkit that trains handwritten-digit recognizers, from the simplest baseline to the best",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["mnist_paddle", "mnist_paddle.*"]),
    # With this line an editable install is a path entry. Without it, it is an import hook, which Python asks last: in the folder
    # that holds the clone, `import mnist_paddle` would find the clone itself, as a namespace package.
    package_dir={"": "."},
    package_data={"mnist_paddle": ["py.typed", "kernels/*.c", "kernels/*.h", "studies/article/*.yaml", "debugging/lessons/*"]},
    cmdclass={"build_py": WithRecipes},
    entry_points={"console_scripts": ["mnist-paddle = mnist_paddle.cli.main:main"]},
    python_requires=">=3.9",
    install_requires=[
        "numpy>=1.23",
        "matplotlib>=3.6",
        "visualdl>=2.5.3",
        "PyYAML>=6",
        "safetensors>=0.4",
        "tqdm>=4.64",
        "Pillow>=9.4",
        "filelock>=3.12",
        "platformdirs>=3",
        "requests>=2.28",
        "psutil>=5.9",
    ],
    extras_require={
        # Paddle 2.6 imports setuptools and does not ask for it.
        "cpu": ["paddlepaddle>=2.6.2", "setuptools"],
        "gpu": ["paddlepaddle-gpu>=2.6.2", "setuptools"],
        "export": ["paddle2onnx>=1.3.1", "onnxruntime>=1.17"],
        "parquet": ["pyarrow>=14"],
        "test": [
            *["pytest>=7.4", "pytest-timeout>=2.2", "hypothesis>=6.80", "pytest-xdist>=3.3", "ruff>=0.6", "mypy>=1.15"],
            *["types-PyYAML>=6.0.12", "types-psutil>=5.9.5", "types-requests>=2.31", "types-tqdm>=4.66"],
            "pyarrow>=14",
        ],
        "coverage": ["pytest-cov>=7", "coverage>=7.10"],
    },
)
