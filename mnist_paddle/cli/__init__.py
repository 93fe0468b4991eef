"""The commands, one module each."""

__all__ = ["command_line", "main"]
