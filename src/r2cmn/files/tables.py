"""Strict reading of CSV files: every field stays text, and a row that does not fit its header is an error.

Fields may be separated by commas, semicolons, tabs or bars; the first row decides.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from r2cmn.files import check_regular
from r2cmn.files.words import name_some, repeated

LONGEST_FIELD = 10_000_000
_DELIMITERS = ",;\t|"  # the first of equally good ones is taken


def csv_lines(path: Path, file: BinaryIO | None = None, delimiter: str | None = None) -> Iterator[list[str]]:
    """Yield the fields of each row of a CSV file, the header included; an empty line yields [].

    Every field stays text. A byte order mark is skipped, gzip is recognized by its first bytes.

    Args:
        path: the file, which errors name.
        file: the content, if it is not read from `path`, such as a member of an archive; seekable, closed at the end.
        delimiter: the character between fields; None for the one that splits the first row into the most fields.

    Raises:
        ValueError: naming the file, if it is missing, damaged, not UTF-8 or not a CSV.
    """
    if file is None:
        check_regular(path)
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        with nullcontext(file) if file else path.open("rb") as raw:
            is_packed = raw.read(2) == b"\x1f\x8b"  # browsers unpack .csv.gz and keep the name
            raw.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_packed else raw
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            first = text.readline()
            lines = chain([first], text) if first else ()
            yield from csv.reader(lines, delimiter=delimiter or _delimiter(first), strict=True)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is cut short or damaged: {error}") from error
    except UnicodeDecodeError as error:
        where = "" if file else _line_of_first_fault(path)
        raise ValueError(f"{path} is not a CSV of UTF-8 text{where}: {error}") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV of UTF-8 text: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _delimiter(first: str) -> str:
    """Return the character that splits the first row into the most fields; a comma, if none splits it into more."""
    return max(_DELIMITERS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), ())))


def _line_of_first_fault(path: Path) -> str:
    """Return ` in line N` of a file that is not UTF-8; nothing for a packed one."""
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        if not content.startswith(b"\x1f\x8b"):
            return f" in line {content.count(10, 0, error.start) + 1} (save it as UTF-8)"
    return ""


def match_names(names: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the names, those that differ from a known one only in case or outer blanks replaced by it.

    A name that is there as it should be is not matched a second time: `id,ID` stays as it is.
    """
    wanted = {name.casefold(): name for name in known if name not in names}
    return [wanted.get(name.strip().casefold(), name) for name in names]


def checked_rows(
    path: Path, columns: Collection[str] = (), optional: Collection[str] = (), file: BinaryIO | None = None
) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Yield the number of each row (the header is row 1), and its values by column or the reason why it has none.

    Empty lines are skipped; in a file with one column they are rows with an empty text. Names of columns may differ
    from those asked for in case and outer blanks.

    Args:
        path: the file, which errors name.
        columns: names that the header must have.
        optional: names that the header may have.
        file: as in `csv_lines`.

    Raises:
        ValueError: as `csv_lines`; also for a missing or repeated column.
    """
    lines = csv_lines(path, file)
    header = match_names(next(lines, []), (*columns, *optional))
    twice = repeated(header)
    if twice:
        raise ValueError(f"{path} has the column {name_some(twice)} more than once: rename or remove one of them")
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(f"{path} has no column '{missing[0]}': its columns are {', '.join(header) or 'none'}")
    for number, line in enumerate(lines, 2):
        if not line and len(header) > 1:
            continue
        fields = line or [""]
        if len(fields) == len(header):
            yield number, dict(zip(header, fields, strict=True))
            continue
        longer = len(fields) > len(header)
        yield (
            number,
            (
                f"the row is {'longer' if longer else 'shorter'} than the header ({len(fields)} fields, {len(header)} "
                f"columns){'; put a text that has separators (such as commas) in quotes' if longer else ''}"
            ),
        )


def iter_csv(path: Path, columns: Collection[str] = (), file: BinaryIO | None = None) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file with a header, by column: those of `checked_rows`.

    Raises:
        ValueError: as `checked_rows`; also, naming the row, for a row with more or fewer fields than the header.
    """
    for number, row in checked_rows(path, columns, file=file):
        if isinstance(row, str):
            raise ValueError(f"{path}, row {number}: {row}")
        yield row


def read_csv(path: Path, columns: Collection[str] = (), file: BinaryIO | None = None) -> list[dict[str, str]]:
    """Read a CSV file with a header and at least one row: the rows of `iter_csv`.

    Raises:
        ValueError: as `iter_csv`; also if the file is empty or has no row.
    """
    rows = list(iter_csv(path, columns, file))
    if not rows:
        raise ValueError(f"{path} is empty or has a header but no row")
    return rows


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_text(cell: str) -> str:
    """Return a cell for people: with a quote before what a spreadsheet would run as a formula."""
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def from_text(cell: str) -> str:
    """Return a cell without the quote that `as_text` puts before it."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell
