import pytest

from mnist_paddle.cli.help import listing
from mnist_paddle.config import TABLES, choices
from mnist_paddle.errors import UsageError
from mnist_paddle.registry import Registry
from mnist_paddle.settings.source import catalogue


def test_a_part_goes_by_its_function_name():
    table = Registry("thing")

    @table.register
    def simple():
        """One."""

    assert table.pick("simple") is simple


def test_an_unknown_name_lists_the_choices_and_the_nearest():
    table = Registry(
        "fruit",
    )
    table.register(type("apple", (), {}))
    table.register(type("pear", (), {}))
    with pytest.raises(UsageError, match=r"no fruit 'aple'; did you mean 'apple'\? choices: apple, pear"):
        table.pick("aple")


def test_a_name_taken_twice_is_refused():
    table = Registry("thing")
    table.register(max)
    with pytest.raises(ValueError, match="already a thing called 'max'"):
        table.register(max)


@pytest.mark.parametrize("setting", TABLES)
def test_the_source_read_without_running_names_the_same_parts_as_the_table(setting):
    from importlib import import_module

    module, table = TABLES[setting]
    entries = catalogue(module, table)
    assert entries == getattr(import_module(f"mnist_paddle.{module}"), table).entries()
    assert list(entries) == list(getattr(import_module(f"mnist_paddle.{module}"), table))
    assert all(entry.description for entry in entries.values())


def test_the_listing_shows_every_part_of_every_table():
    text = listing([])
    for setting in TABLES:
        assert all(name in text for name in choices(setting))
