from __future__ import annotations

import importlib.util

from blocks import ROOT

SPECIFICATION = importlib.util.spec_from_file_location("docstrings", ROOT / "docs" / "docstrings.py")
assert SPECIFICATION
assert SPECIFICATION.loader
docstrings = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(docstrings)


def test_names_that_share_a_description_get_one_each() -> None:
    text = """What, when, where: all of it.

Args:
    start, end: seconds, see
        :func:`whenwhere.load`.
    label: name, of: something.

Returns:
    low, high: both.
"""
    expected = """What, when, where: all of it.

Args:
    start: seconds, see
        `whenwhere.load`.
    end: seconds, see
        `whenwhere.load`.
    label: name, of: something.

Returns:
    low, high: both."""
    assert docstrings.readable(text) == expected
    assert docstrings.readable("One line.") == "One line."
