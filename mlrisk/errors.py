"""Errors that a user can mend, each with the exit code the command line gives it."""

import difflib
from collections.abc import Iterable


class MlriskError(Exception):
    """Base of the errors shown as one line, without a traceback."""

    exit_code = 1


class BadInput(MlriskError, ValueError):
    """A field, value, file or name that is not allowed: says which, what it was, and what is allowed."""

    exit_code = 2


class DataUnavailable(MlriskError, FileNotFoundError):
    """Data that is missing or damaged: says which command or package would provide it."""

    exit_code = 3

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StorageError(MlriskError, OSError):
    """A run folder that cannot be written or read; what was written before stays whole."""

    exit_code = 4

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


def one_of(field: str, value: object, allowed: Iterable[str]) -> str:
    """The standard line for a value outside a finite set, with the nearest match when there is one.

    Args:
        field: the name the user wrote or should have written.
        value: what was given.
        allowed: the permitted values.

    Returns:
        ``field: 'value' is not one of a, b, c; did you mean 'a'?``
    """
    names = [str(name) for name in allowed]
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{field}: {str(value)!r} is not one of {', '.join(names)}{hint}"
