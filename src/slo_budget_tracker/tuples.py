"""Named tuples, made a hundred thousand at a time."""

from __future__ import annotations

make = tuple.__new__  # what `_make` does, without a call of Python for each
