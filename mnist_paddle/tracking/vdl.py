"""One record of VisualDL as bytes."""

import time
from types import ModuleType

from .libraries import visualdl


def component() -> ModuleType:
    """VisualDL's module with the record types. Raises whatever its import does."""
    return visualdl("visualdl.component.base_component")


def record(kind: str, tag: str, content: dict) -> bytes:
    """A record of a kind: scalar, histogram, image, ... Raises any error of VisualDL or protobuf."""
    if "%" in tag:
        raise ValueError("VisualDL does not accept % in a name")
    named = {"tag": tag} if tag else {}
    made = getattr(component(), kind)(**named, **content, walltime=round(time.time() * 1000))
    return made.SerializeToString()
