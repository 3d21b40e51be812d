"""Files of weights: a checksum over the whole file, and values that no weight has. Nothing here imports torch."""

from __future__ import annotations

import math
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from r2cmn.files import whole_file
from r2cmn.files.words import first_line

_SEAL = re.compile(rb"crc32 ([0-9a-f]{8})")
_END = struct.Struct("<H")  # the last field of a zip file: the length of its comment
_FOLDER = 0x10  # attribute of a zip member; torch reads a member with it as zeros


class _Summed:
    """Passes bytes on to a file and sums them up."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.crc = 0

    def write(self, data: Any) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def write_sealed(path: Path, save: Callable[[Any], None], mode: int) -> None:
    """Write a zip file whole or not at all, with a checksum of all its bytes in its comment.

    The checksums of the members cover neither headers nor directory, and torch verifies none of them.

    Args:
        path: the file to write.
        save: writes the zip file, such as `torch.save`, to the file object that it gets.
        mode: permissions of the file.

    Raises:
        OSError: naming `path`, as `whole_file`.
    """
    with whole_file(path, mode) as file:
        summed = _Summed(file)
        save(summed)
        if file.seekable():  # not a pipe
            comment = b"crc32 %08x" % summed.crc
            file.seek(-_END.size, 2)
            file.write(_END.pack(len(comment)) + comment)


def is_zip(path: Path) -> bool:
    """Return whether a file is a zip file, which may be damaged."""
    try:
        return zipfile.is_zipfile(path)
    except (zipfile.BadZipFile, OSError, ValueError, struct.error):  # the record at its end is damaged
        return True


def find_damage(path: Path) -> str | None:
    """Return what is wrong with a zip file, such as "the checksum of 'data.pkl' is wrong"; None if it is whole.

    A file of `write_sealed` is compared with its checksum, one of another program with those of its members. A file of
    another kind has no checksum: it is None.
    """
    if not is_zip(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment:
                return None if _is_sealed(path, archive.comment) else "its checksum is wrong"
            if any(member.external_attr & _FOLDER or member.compress_type for member in archive.infolist()):
                return "its directory is not as torch writes it"
            member = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, struct.error, RuntimeError) as error:
        return f"its directory is damaged: {error}"  # NotImplementedError is a RuntimeError
    return None if member is None else f"the checksum of '{member}' in it is wrong"


def _is_sealed(path: Path, comment: bytes) -> bool:
    seal = _SEAL.fullmatch(comment)
    if seal is None:
        return False
    end = _END.size + len(comment)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        last = content[-end : -end + _END.size]
        with memoryview(content) as view, view[:-end] as before:
            found = zlib.crc32(bytes(_END.size), zlib.crc32(before))
    return last == _END.pack(len(comment)) and found == int(seal[1], 16)


@contextmanager
def refusing(path: Path, kind: type[ValueError]) -> Iterator[None]:
    """Raise `kind`, naming the file, in place of what a value of another type causes: a file is data of a stranger."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, AssertionError) as error:
        fault = f"{type(error).__name__}: {first_line(error)}"
        raise kind(f"{path} holds a value that cannot be used, it is damaged or was edited: {fault}") from error


def find_nonfinite(tensors: Iterable[tuple[str, Any]]) -> str | None:
    """Return the first tensor with NaN or infinite values, and how many: "3 of 40 values of 'a.weight' are NaN".

    A mask, with no other values than 0 and minus infinity, is no fault.

    Args:
        tensors: names and tensors of torch.
    """
    faults = [(name, tensor) for name, tensor in tensors if _is_nonfinite(tensor)]
    if not faults:
        return None
    name, tensor = faults[0]
    number = int((~tensor.isfinite()).sum())
    rest = f", and so are values of {len(faults) - 1} more weights" if len(faults) > 1 else ""
    return f"{number} of {tensor.numel()} values of '{name}' are NaN or infinite{rest}"


def _is_nonfinite(tensor: Any) -> bool:
    if tensor.is_complex() or not tensor.is_floating_point() or tensor.numel() == 0:
        return False
    with suppress(RuntimeError, NotImplementedError):  # a type without a minimum, such as float8
        low, high = (float(value) for value in tensor.aminmax())  # NaN if any value is; ten times as fast as isfinite
        is_mask = low == -math.inf and high == 0 and bool(((tensor == 0) | (tensor == -math.inf)).all())
        return not (math.isfinite(low) and math.isfinite(high)) and not is_mask
    return False
