"""Environment variables for libraries that are configured by nothing else, set for as long as they are read."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of this process, and restore the previous ones at the end."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def defaults(variables: Mapping[str, str]) -> AbstractContextManager[None]:
    """Set those of the variables that the user has not set, as `environment` does."""
    return environment({name: value for name, value in variables.items() if name not in os.environ})
