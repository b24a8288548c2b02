"""Keeps what a user's strategy prints apart from results: stdout belongs to whoever asked for the run."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def quiet(function: Callable[P, R]) -> Callable[P, R]:
    """Let whatever is printed within go to stderr."""

    @wraps(function)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        with redirect_stdout(sys.stderr):
            return function(*args, **kwargs)

    return within
