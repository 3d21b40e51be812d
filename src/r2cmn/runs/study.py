"""The Optuna study that a run of a search reports to; nothing here imports torch or, before it is used, Optuna."""

from __future__ import annotations

from typing import Any

from hydra.errors import CompactHydraException

STUDY_VARIABLE = "R2CMN_STUDY"
"""The environment variable that tells a trial's process which study it belongs to, as JSON."""

SQLITE_WAIT_S = 60.0


class SearchError(CompactHydraException):
    """A search that cannot run as asked; Hydra prints its sentence without a traceback."""


def open_storage(url: str) -> Any:
    """Open the storage of a study; of sqlite, wait for the other processes that write to it.

    Raises:
        SearchError: where it cannot be opened.
    """
    from optuna.storages import RDBStorage

    options = {"connect_args": {"timeout": SQLITE_WAIT_S}} if url.startswith("sqlite") else None
    try:
        return RDBStorage(url, engine_kwargs=options)
    except Exception as error:  # of SQLAlchemy, of the database's driver, or of Optuna
        shown = url if url.startswith("sqlite") else url.partition("://")[0]  # not the password
        raise SearchError(
            f"the study cannot be opened ({shown}): {(str(error) or repr(error)).splitlines()[0]}"
        ) from error
