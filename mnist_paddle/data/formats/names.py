"""What file and array names say: the part of a data set (train, validation, test), images or labels, the data set's name."""

import re
from typing import NamedTuple, Optional

PARTS = {
    "train": "train training tr",
    "validation": "validation valid val dev",
    "test": "test testing t10k te",
}
IMAGES = "x image images img imgs pixels input inputs features data".split()
LABELS = "y label labels lbl target targets digit digits class classes".split()
WEAK = {"data", "features", "digit", "digits", "class", "classes", "input", "inputs"}  # names of a data set as well
PART_OF = {word: part for part, words in PARTS.items() for word in words.split()}
KIND_OF = {**dict.fromkeys(IMAGES, "images"), **dict.fromkeys(LABELS, "labels")}
NO_NAME = re.compile(r"(idx\d?|ubyte|byte|u?int\d+|float\d*|gz|npz|npy|csv|tsv|txt|parquet|arrow|pkl|pickle|json|of)$")
COPY = re.compile(r"[ _-]*\(\d+\)|[ _-]+copy\b", re.IGNORECASE)  # the second download of a file
JOINED = re.compile(r"^(x|y|images?|labels?)(train|test|val|valid|validation)$|^(train|test|val|valid)(x|y|images?|labels?)$")


class Name(NamedTuple):
    """`dataset` is what remains of the name: "emnist-letters" of emnist-letters-train-images-idx3-ubyte.gz."""

    dataset: str
    part: Optional[str]
    kind: Optional[str]


def words(text: str) -> list:
    """The words of a name, in lower case: split at everything but letters and digits, and where a capital begins."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", COPY.sub("", text)).lower()
    result = []
    for word in re.findall(r"[^\W_]+", text):
        joined = JOINED.match(word)
        result += [group for group in joined.groups() if group] if joined else [word]
    return result


def parse_name(text: str) -> Name:
    """Take a name apart.

    >>> parse_name("emnist-letters-train-images-idx3-ubyte.gz")
    Name(dataset='emnist-letters', part='train', kind='images')
    >>> parse_name("trainX"), parse_name("digits.npz")
    (Name(dataset='', part='train', kind='images'), Name(dataset='digits', part=None, kind=None))
    """
    parts, kinds, rest = [], [], []
    all_words = words(text)
    strong = any(word in KIND_OF and word not in WEAK for word in all_words)
    for position, word in enumerate(all_words):
        if word in PART_OF:
            parts.append(PART_OF[word])
        elif word in KIND_OF and (word not in WEAK or (not strong and position == len(all_words) - 1)):
            kinds.append(KIND_OF[word])
        elif not (position and (NO_NAME.match(word) or (word.isdigit() and (parts or kinds)))):
            rest.append(word)
    return Name("-".join(rest), parts[0] if len(set(parts)) == 1 else None, kinds[0] if len(set(kinds)) == 1 else None)


def dataset_key(text: str) -> str:
    """The name of a data set as `parse_name` writes it: "emnist-letters" of "EMNIST_letters-"."""
    return "-".join(words(text))
