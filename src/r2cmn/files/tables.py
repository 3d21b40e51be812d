"""Strict reading of CSV files: every field stays text, and a row that does not fit its header is an error."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, cast

from r2cmn.files import name_some, repeated

LONGEST_FIELD = 10_000_000


def csv_lines(path: Path, file: BinaryIO | None = None) -> Iterator[list[str]]:
    """Yield the fields of each row of a CSV file, the header included; an empty line yields [].

    Every field stays text. A byte order mark is skipped, gzip is recognized by its first bytes.

    Args:
        path: the file, which errors name.
        file: the content, if it is not read from `path`, such as a member of an archive; seekable, closed at the end.

    Raises:
        ValueError: naming the file, if it is missing, damaged, not UTF-8 or not a CSV.
    """
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        with nullcontext(file) if file else path.open("rb") as raw:
            is_packed = raw.read(2) == b"\x1f\x8b"  # browsers unpack .csv.gz and keep the name
            raw.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_packed else raw
            yield from csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), strict=True)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is cut short or damaged: {error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV of UTF-8 text: {error}") from error
    finally:
        csv.field_size_limit(limit)


def iter_csv(path: Path, columns: Collection[str] = (), file: BinaryIO | None = None) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file with a header, by column; values are as in `csv_lines`.

    Empty lines are skipped; in a file with one column they are rows with an empty text.

    Args:
        path: the file, which errors name.
        columns: names that the header must have.
        file: as in `csv_lines`.

    Raises:
        ValueError: as `csv_lines`; also for a missing or repeated column, and naming the row (the header is row 1), for
            a row with more or fewer fields than the header.
    """
    lines = csv_lines(path, file)
    header = next(lines, [])
    twice = repeated(header)
    if twice:
        raise ValueError(f"{path} has the column {name_some(twice)} more than once")
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(f"{path} has no column '{missing[0]}': its columns are {', '.join(header) or 'none'}")
    for number, line in enumerate(lines, 2):
        if not line and len(header) > 1:
            continue
        fields = line or [""]
        if len(fields) != len(header):
            longer = len(fields) > len(header)
            raise ValueError(
                f"{path}, row {number}: the row is {'longer' if longer else 'shorter'} than the header ({len(fields)} "
                f"fields, {len(header)} columns){'; put a text that has commas in quotes' if longer else ''}"
            )
        yield dict(zip(header, fields, strict=True))


def read_csv(path: Path, columns: Collection[str] = (), file: BinaryIO | None = None) -> list[dict[str, str]]:
    """Read a CSV file with a header and at least one row: the rows of `iter_csv`.

    Raises:
        ValueError: as `iter_csv`; also if the file is empty or has no row.
    """
    rows = list(iter_csv(path, columns, file))
    if not rows:
        raise ValueError(f"{path} is empty or has a header but no row")
    return rows
