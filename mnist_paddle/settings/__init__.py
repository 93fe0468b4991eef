"""How settings are written, checked and explained: values, YAML files, component arguments, plugins."""

__all__ = ["advice", "checks", "components", "file", "plugins", "source", "tables", "values"]
