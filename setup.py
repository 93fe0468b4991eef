"""Metadata of the package. Paddle's CPU and GPU builds exclude each other, so each is an extra and neither is required."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = {}
exec((here / "mnist_paddle" / "version.py").read_text(), version)

setup(
    name="mnist-paddle",
    version=version["__version__"],
    description="A PaddlePaddle toolkit that trains handwritten-digit recognisers, from the simplest baseline to the best",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["mnist_paddle", "mnist_paddle.*"]),
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
        "test": ["pytest>=7.4", "pytest-timeout>=2.2", "hypothesis>=6.80", "ruff>=0.6", "pytest-xdist>=3.3"],
    },
)
