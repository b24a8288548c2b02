"""Bytes of market data files: hashes, compression, what a file is by its first bytes, and errors that say so."""

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl
from polars.exceptions import PanicException, PolarsError

from claire.model.errors import DataError


class Container(StrEnum):
    """What the bytes of a file (or of its only compressed member) are."""

    PARQUET = "parquet"
    FEATHER = "feather"
    JSON = "json"
    FRAMES = "frames"
    CAPTURE = "capture"
    CSV = "csv"


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        DataError: the file is missing, is a folder, is empty, or cannot be read.
    """
    if not path.exists():
        raise DataError(
            f"{path}: there is no such file. Check the path; `claire data synth` makes a market to try with."
        )
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a file. Name one market data file in it.")
    with reading(path):
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty. Fetch it again.")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a broken file makes its reader raise into a `DataError` that names the file."""
    try:
        yield
    except EOFError as e:
        raise DataError(
            f"{path}: the compressed data ends too early ({e}). The file is truncated: fetch it again."
        ) from e
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as e:
        raise DataError(f"{path}: the compressed data is corrupt or truncated ({e}). Fetch the file again.") from e
    except msgspec.DecodeError as e:
        raise DataError(f"{path}: the JSON is corrupt or truncated ({e}). Fetch the file again.") from e
    except (PolarsError, PanicException, UnicodeDecodeError) as e:
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise DataError(
            f"{path}: the table is corrupt, truncated or irregular ({reason}). Fetch the file again."
        ) from e
    except OSError as e:
        raise DataError(f"{path}: cannot be read ({e.strerror or e}).") from e


def content_of(path: Path) -> tuple[Container, bytes | Path, str]:
    """Return what a file is, its content, and the name of what holds the content.

    Parquet, Feather and captures are returned as the path (their readers take what they need); everything else as
    decompressed bytes. The name is that of the member of an archive, else of the file, without `.gz`.

    Raises:
        DataError: the file is missing, empty, corrupt or truncated, or an archive does not hold exactly one file.
    """
    with reading(path), path.open("rb") as file:
        head = file.read(8)
        if head.startswith(b"PAR1"):
            return Container.PARQUET, path, path.name
        if head.startswith((b"ARROW1", b"FEA1")):
            return Container.FEATHER, path, path.name
        name = path.name
        if head.startswith(b"PK"):
            name, content = _only_member(path)
        elif head.startswith(b"\x1f\x8b"):
            name = name.removesuffix(".gz")
            with gzip.open(path, "rb") as packed:
                kind = _kind_of_text(path, packed.read(4096))
                if kind in (Container.CAPTURE, Container.FRAMES):
                    return kind, path, name
                packed.seek(0)
                content = packed.read()
        else:
            content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path}: holds no data. Fetch it again.")
    if name.endswith((".parquet", ".feather")):
        raise DataError(f"{path}: does not begin like a {name.rpartition('.')[2]} file; it is corrupt. Fetch it again.")
    kind = _kind_of_text(path, content)
    return kind, path if kind in (Container.CAPTURE, Container.FRAMES) else content, name


def _only_member(path: Path) -> tuple[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if not name.endswith("/")]
        if len(members) != 1:
            found = ", ".join(sorted(members)[:5]) or "nothing"
            raise DataError(
                f"{path}: an archive must hold exactly one file, this one holds {found}. Unpack the one you want."
            )
        return Path(members[0]).name, archive.read(members[0])


def _kind_of_text(path: Path, content: bytes) -> Container:
    head = content[:4096].lstrip()
    if b"\x00" in head:
        raise DataError(
            f"{path}: is no market data file (neither Parquet, Feather, zip, gzip, JSON nor CSV). Formats: docs/market-data.md"
        )
    if head.startswith(b"["):
        return Container.JSON
    if head.startswith(b"{"):
        return Container.FRAMES
    first, _, rest = head.partition(b" ")
    if first.isdigit() and rest.startswith(b"{"):
        return Container.CAPTURE
    return Container.CSV


def read_table(
    path: Path, container: Container, content: bytes | Path, columns: list[str] | None = None
) -> pl.DataFrame:
    """Read a Parquet or Feather file (optionally only some of its columns).

    Raises:
        DataError: the file is corrupt or truncated.
    """
    with reading(path):
        source = content if isinstance(content, Path) else BytesIO(content)
        if container is Container.PARQUET:
            return pl.read_parquet(source, columns=columns)
        return pl.read_ipc(source, columns=columns)


def column_names(path: Path, container: Container, content: bytes | Path) -> list[str]:
    """Return the column names of a Parquet or Feather file.

    Raises:
        DataError: the file is corrupt or truncated.
    """
    with reading(path):
        source = content if isinstance(content, Path) else BytesIO(content)
        return list(pl.read_parquet_schema(source) if container is Container.PARQUET else pl.read_ipc_schema(source))
