"""The lines of a text file, of the encodings and line ends that spreadsheets and shells write."""

import codecs
import re
from collections.abc import Iterator

from ...errors import UsageError
from ...system.paths import StrPath
from .streams import CHUNK, open_stream


def text_lines(path: StrPath) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line) of UTF-8 or UTF-16 text with any line ends. Raises `UsageError`."""
    with open_stream(path) as stream:
        data = stream.read(CHUNK)
        decoder, rest, number = codecs.getincrementaldecoder(_encoding(data))("strict"), "", 0
        while True:
            try:
                text = rest + decoder.decode(data, final=not data)
            except UnicodeDecodeError:
                raise UsageError(f"{path}: after line {number}: not UTF-8 text; save the file as UTF-8") from None
            if "\r" in text:  # a carriage return at the end may be the first half of a line end
                keep = "\r" if data and text.endswith("\r") else ""
                text = text[: len(text) - len(keep)].replace("\r\n", "\n").replace("\r", "\n") + keep
            *whole, rest = text.split("\n")
            for line in whole:
                number += 1
                yield number, line
            if len(rest) > CHUNK:
                raise UsageError(f"{path}: line {number + 1} is longer than 1 MiB; expected a label and 784 pixels")
            if not data:
                if rest:
                    yield number + 1, rest
                return
            data = stream.read(CHUNK)


def _encoding(head: bytes) -> str:
    """From the byte order mark, or from the zero bytes that UTF-16 has beside every digit."""
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    sample = head[:64]
    if len(sample) > 7 and not any(sample[1::2]):
        return "utf-16-le"
    return "utf-16-be" if len(sample) > 7 and not any(sample[::2]) else "utf-8-sig"


def rows_of(path: StrPath) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of what is not blank, without the `sep=;` that Excel understands as the delimiter."""
    first = True
    for number, line in text_lines(path):
        if line.strip() and not (first and re.fullmatch(r"sep=.", line.strip(), re.IGNORECASE)):
            yield number, line
            first = False
