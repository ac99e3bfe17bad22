"""From a file to text: sizes, encodings, and files that cannot be read."""

import os
import stat
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from pathlib import Path

from switchover.planfile.positions import Place, PlanSyntaxError


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """
    The whole file, unless it is larger than this; then it is not read.

    Raises:
        PlanSyntaxError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else 0
            if size > max_bytes:
                raise too_large(size, max_bytes)
            data = stream.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise PlanSyntaxError("there is no such file; check the path") from error
    except IsADirectoryError as error:
        raise PlanSyntaxError("this is a folder; name the plan file in it") from error
    except PermissionError as error:
        raise PlanSyntaxError("it may not be read; check its permissions") from error
    except (OSError, ValueError) as error:
        raise PlanSyntaxError(f"it cannot be read: {error}") from error
    if len(data) > max_bytes:
        raise too_large(len(data), max_bytes)
    return data


def too_large(size: int, limit: int) -> PlanSyntaxError:
    """The refusal of a text of this size."""
    return PlanSyntaxError(
        f"{size:,} bytes are more than the limit of {limit:,}; move tenants into files of their own with tenantsFrom, "
        "or raise plan_file_max_bytes (SWITCHOVER_PLAN_FILE_MAX_BYTES)"
    )


_MARKS: tuple[tuple[bytes, str], ...] = (
    (BOM_UTF8, "utf-8"),
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (BOM_UTF32_LE, "utf-32-le"),
    (BOM_UTF32_BE, "utf-32-be"),
    (BOM_UTF16_LE, "utf-16-le"),
    (BOM_UTF16_BE, "utf-16-be"),
)


def decode(data: bytes | str) -> str:
    """
    UTF-8, or what a byte order mark says, without the mark.

    Raises:
        PlanSyntaxError: It is no text.
    """
    if isinstance(data, str):
        if not data.isascii():
            try:
                data.encode()
            except UnicodeEncodeError as error:
                raise PlanSyntaxError("no valid Unicode text: it contains a lone surrogate") from error
        return data.removeprefix("\ufeff")
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        before = data[len(mark) : len(mark) + error.start].decode(encoding, "replace")
        place = Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise PlanSyntaxError(f"no valid {encoding.upper()}: {error.reason}; save the file as UTF-8", place) from error
