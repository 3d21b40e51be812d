"""The Optuna study of a search; nothing here imports torch, nor Optuna before it is used."""

from __future__ import annotations

from typing import Any

from hydra.errors import CompactHydraException

from r2cmn.files.words import first_line

STUDY_VARIABLE = "R2CMN_STUDY"
"""Environment variable that describes the study to the processes of its trials, as JSON."""

SQLITE_WAIT_S = 60.0


class SearchError(CompactHydraException):
    """A search that cannot run with these options; Hydra prints the message without a traceback."""


def open_storage(url: str) -> Any:
    """Open the storage of a study; an SQLite file that other processes write to is waited for.

    Raises:
        SearchError: if it cannot be opened.
    """
    from optuna.storages import RDBStorage

    options = {"connect_args": {"timeout": SQLITE_WAIT_S}} if url.startswith("sqlite") else None
    try:
        return RDBStorage(url, engine_kwargs=options)
    except Exception as error:  # of SQLAlchemy, of the database driver, or of Optuna
        shown = url if url.startswith("sqlite") else url.partition("://")[0]  # without the password
        raise SearchError(f"the study cannot be opened ({shown}): {first_line(error)}") from error
