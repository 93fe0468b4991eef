"""A settings file: YAML in UTF-8, read strictly. What is wrong with it is one line that names the file and the line."""

import re
from pathlib import Path
from typing import Any, Optional

import yaml

from ..errors import UsageError
from .values import scalar

LARGEST = 100_000  # bytes; a settings file has hundreds
TEXT = "tag:yaml.org,2002:str"


class Loader(yaml.SafeLoader):
    """YAML's grammar alone: every plain scalar stays text; `scalar` interprets it."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  the name that PyYAML reads


class Dumper(yaml.SafeDumper):
    """Quotes a string that `read` would take for no value: a file that is called None."""


Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(TEXT, text, style="'" if text == "None" else None))


def dump(settings: dict) -> str:
    """Settings as a file that `read` gives back."""
    return yaml.dump(settings, Dumper=Dumper, sort_keys=False)


def read(path: str) -> list[tuple]:
    """The (key, node) pairs of a file's top level; a node has its line in `start_mark.line`, from 0."""
    text = _text(path)
    node = compose(text, path, lines=True)
    if node is None:
        raise UsageError(f"{path}: holds no settings; write lines such as 'epochs: 4'")
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{path}, line {node.start_mark.line + 1}: {_no_mapping(node)}")
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != TEXT or not isinstance(scalar(key.value), str) or not key.value:
            what = repr(key.value) if isinstance(key, yaml.ScalarNode) else "a collection"
            raise UsageError(f"{path}, line {key.start_mark.line + 1}: the key {what} is no setting's name")
    return node.value


def _text(path: str) -> str:
    """The characters of a file, once it is known to be a small regular file, not a device or a pipe."""
    file = Path(path)
    try:
        if file.is_dir():
            inside = file / "config.yaml"
            hint = f"; --config {inside}?" if inside.is_file() else ""
            raise UsageError(f"{path}: a folder, not a settings file{hint}")
        if file.exists() and not file.is_file():
            raise UsageError(f"{path}: not a file; --config takes a YAML file")
        with open(file, "rb") as stream:
            data = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such settings file") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: can't be read ({getattr(error, 'strerror', None) or error})") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{path}: the file is in UTF-16; save it as UTF-8")
    if b"\0" in data or data[:4] == b"PK\x03\x04":
        raise UsageError(f"{path}: a binary file; --config takes a YAML file")
    if len(data) > LARGEST:
        raise UsageError(f"{path}: more than {LARGEST:,} bytes, so no settings file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        key = _key_of(data.splitlines()[line - 1])
        raise UsageError(f"{path}, line {line}{key}: not UTF-8 (GBK or Latin-1?); save the file as UTF-8") from None
    # JSON may be indented with tabs, which YAML's scanner does not know.
    return re.sub(r"(?m)^\t+", lambda tabs: "  " * len(tabs[0]), text) if text.lstrip().startswith("{") else text


def _key_of(line: bytes) -> str:
    """The key of a line that can't be decoded, for the message."""
    name = line.partition(b":")[0].strip().decode("ascii", "ignore")
    return f", {name}" if name.isidentifier() else ""


def compose(text: str, where: str, lines: bool = False) -> Optional[yaml.Node]:
    """The node of one YAML document, or None of an empty one; aliases are refused, for a few of them fill any memory.

    `where` is the file or the flag that an error names; `lines`: with the number of the line.
    """
    loader = None
    try:
        loader = Loader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{where}{_at(lines, number)}: a control character, {error.character!r}") from None
    except yaml.MarkedYAMLError as error:
        number, reason = _explained(error, text)
        raise UsageError(f"{where}{_at(lines, number)}: {reason}") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply") from None
    finally:
        if loader:
            loader.dispose()
    return node


def value_of(node: yaml.Node, where: str, lines: bool = False) -> Any:
    """The plain Python value of a node: text, number, boolean, None, list or dict."""
    seen = set()

    def value(node: yaml.Node) -> Any:
        place = f"{where}{_at(lines, node.start_mark.line + 1)}"
        if id(node) in seen:
            raise UsageError(f"{place}: an anchor (&) that is used again (*); write the value out")
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            if node.tag != TEXT:
                raise UsageError(f"{place}: the tag {short_tag(node)} is not read; leave it out")
            return scalar(node.value) if node.style is None else node.value
        if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise UsageError(f"{place}: the tag {short_tag(node)} is not read; leave it out")
        if isinstance(node, yaml.SequenceNode):
            return [value(entry) for entry in node.value]
        mapping = {}
        for key, entry in node.value:
            name = value(key)
            if isinstance(name, (list, dict)):
                raise UsageError(f"{place}: a collection can't be a name")
            if name in mapping:
                raise UsageError(f"{where}{_at(lines, key.start_mark.line + 1)}: {name} is given twice")
            mapping[name] = value(entry)
        return mapping

    return value(node)


def short_tag(node: yaml.Node) -> str:
    """A tag as one types it."""
    return node.tag.replace("tag:yaml.org,2002:", "!!")[:60]


def _at(lines: bool, number: int) -> str:
    return f", line {number}" if lines else ""


def _no_mapping(node: yaml.Node) -> str:
    """What is wrong with a file that is a list or one text."""
    if isinstance(node, yaml.SequenceNode):
        return "the file is a list; write lines such as 'epochs: 4', without dashes before them"
    first = node.value.split()[0][:40] if node.value.split() else ""
    for sign in (":", "=", "："):
        name, separator, value = first.partition(sign)
        if separator and name.replace("-", "_").isidentifier():
            return f"{first!r} is no setting; write it with an ASCII colon and a space: '{name}: {value}'"
    return f"the file is plain text ({first!r}); write lines such as 'epochs: 4'"


def _explained(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """The line of a syntax error and the cause in a user's words."""
    mark, problem = error.problem_mark or error.context_mark, error.problem or ""
    if error.context and "simple key" in error.context and error.context_mark:
        mark = error.context_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    reasons = {
        r"character '\t'": "a tab; YAML is indented with spaces",
        "but found another document": "a second document begins; a settings file has one",
        "mapping values are not allowed": "a ': ' where none is allowed; check the indentation, or put the value in quotes",
        "could not find expected ':'": f"{line.strip()[:40]!r} is no setting; write 'key: value', with a space after the colon",
        "unknown escape character": "a backslash in double quotes is an escape; use single quotes",
        "escape sequence of": "a backslash in double quotes is an escape; use single quotes",
        "alias": "a string that begins with * must be in quotes, and aliases are not read",
        "anchor": "a string that begins with & must be in quotes",
        "cannot start any token": "a string that begins with this character must be in quotes",
        "could not determine a constructor": "tags are not read",
        "unexpected end of stream": "a quote is not closed",
        "expected <block end>": "the indentation does not fit the lines above",
    }
    reason = next((reason for text, reason in reasons.items() if text in f"{error.context} {problem}"), problem)
    if "：" in line:
        reason = "the colon is a full-width one; write ': '"
    elif "expected ',' or" in problem:
        reason = f"a bracket is not closed, or a comma is missing ({problem})"
    return (mark.line + 1 if mark else 1), reason
