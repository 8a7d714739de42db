"""How a command ends: with its exit code, and where it failed, with one line on stderr and no traceback."""

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import NoReturn

from mutewatch.errors import InputError, OperatorError, refusal, shown


def run(command: Callable[[], object]) -> None:
    """Run `command`, and end the process where it could not do what it was asked for."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # bytes of a file's name, say, that are no text
    try:
        command()
    except OperatorError as error:
        _end(error, 2)
    except InputError as error:
        _end(error, 3)
    except OSError as error:
        if (told := refusal(error)) is None:
            raise
        _end(told, 3)  # not 2, with which a service is not started again
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if (reason := _store_reason(error)) is None:
            raise
        _end(f"the store cannot be read or written: {reason}", 3)


def _end(fault: object, code: int) -> NoReturn:
    print(f"mutewatch: {shown(fault)}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # said already; Python would say it again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _store_reason(error: Exception) -> str | None:
    """Return what the database says of itself if `error` is its own: locked, full, damaged, away."""
    from sqlalchemy.exc import DBAPIError

    # the first line only: PostgreSQL's next ones quote what is in the rows
    return (str(error.orig).splitlines() or [""])[0] if isinstance(error, DBAPIError) else None
