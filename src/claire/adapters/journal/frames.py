"""The journal's bytes: segment heads, entry frames, the hash chain, compressed segments, the anchor.

    segment    head, then frames
    head       magic 8 · format version u32 · segment number u32 · first entry number u64 · chain hash before it 32
    frame      length of the body u32 · check of (entry number, length) u32 · body · chain hash 32
    chain      hash(n) = SHA-256(hash(n-1) + body n); hash(0) follows from the format version

Integers are big-endian. Each byte of a head is known beforehand, a body and its hash are held by the chain, and the length
has a check of its own: otherwise a damaged length in the last segment would look like the cut of a crash.

A compressed segment is one gzip member (any gunzip reads it) whose extra field ``CJ`` holds the SHA-256 of all bytes
behind it. Deflate has several forms for one content, so checking the content alone would miss a changed byte.
"""

import contextlib
import hashlib
import os
import struct
import zlib
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec import Struct

from claire.adapters.journal.disk import REAL_DISK, Disk, write_all
from claire.model.errors import JournalError

FORMAT_VERSION: Final = 1
MAGIC: Final = b"CLAIREJL"
HEAD: Final = struct.Struct(">8sIIQ32s")
FRAME: Final = struct.Struct(">II")
HASH_BYTES: Final = 32

JOURNAL: Final = "journal"
"""Folder of the segments, in a run directory."""
ANCHOR: Final = "HEAD.json"
"""The anchor's file, beside the segments."""
LOCK: Final = "run.lock"
"""File in the run directory that its writer keeps locked."""
PLAIN: Final = ".jrn"
PACKED: Final = ".jrn.gz"
PART: Final = ".tmp"
"""Ending of a file that is not whole yet; one that is found is a crash's leftover."""

_GZIP_HEAD: Final = bytes([0x1F, 0x8B, 8, 4, 0, 0, 0, 0, 0, 255, 36, 0]) + b"CJ" + bytes([32, 0])
_GZIP_TAIL: Final = struct.Struct("<II")
_PIECE: Final = 1 << 20
_STEP: Final = 1 << 12
_LEVEL: Final = 3

_CHECKED: Final = struct.Struct(">QI")


def genesis(version: int = FORMAT_VERSION) -> bytes:
    """Return hash(0) of a format version."""
    return hashlib.sha256(b"claire journal format %d" % version).digest()


def chained(before: bytes, body: bytes) -> bytes:
    """Return the chain hash of an entry with this body after an entry with hash `before`."""
    return hashlib.sha256(before + body).digest()


def length_check(number: int, length: int) -> int:
    """Return the check that goes with the length of entry `number`."""
    return zlib.crc32(_CHECKED.pack(number, length))


def head_bytes(segment: int, first_entry: int, before: bytes) -> bytes:
    """Return the head of a segment whose first entry has number `first_entry`."""
    return HEAD.pack(MAGIC, FORMAT_VERSION, segment, first_entry, before)


def segment_name(number: int, suffix: str = PLAIN) -> str:
    """Return the file name of a segment: ``000001.jrn``."""
    return f"{number:06d}{suffix}"


class Anchor(Struct, frozen=True, forbid_unknown_fields=True):
    """How a journal ended, written when it is closed in order: with it, a tail cut off later is missed."""

    entries: int
    segments: int
    head: str
    """Chain hash of the last entry, hexadecimal."""
    check: str = ""
    """SHA-256 of the three before."""

    @classmethod
    def of(cls, entries: int, segments: int, head: bytes) -> Self:
        """Make an anchor with its check."""
        return cls(entries, segments, head.hex(), cls._check(entries, segments, head.hex()))

    def to_bytes(self) -> bytes:
        """Return the text of the anchor's file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, place: Path) -> Self:
        """Read the text of an anchor's file.

        Raises:
            JournalError: it is not exactly what was written.
        """
        try:
            anchor = msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise JournalError(
                f"{place}: damaged, it cannot be read ({error}). Restore the run from a backup."
            ) from None
        if anchor.check != cls._check(anchor.entries, anchor.segments, anchor.head) or anchor.to_bytes() != data:
            raise JournalError(f"{place}: altered since the run was closed. Restore the run from a backup.")
        return anchor

    @staticmethod
    def _check(entries: int, segments: int, head: str) -> str:
        return hashlib.sha256(f"claire journal anchor {entries} {segments} {head}".encode()).hexdigest()


def compress_segment(plain: Path, disk: Disk = REAL_DISK) -> Path:
    """Replace a closed segment by its compressed copy; wherever this stops, one whole copy can be read.

    Raises:
        OSError: the copy could not be written; the plain segment is still there.
    """
    packed = plain.with_name(plain.name.removesuffix(PLAIN) + PACKED)
    temporary = packed.with_name(packed.name + PART)
    try:
        _write_packed(plain, temporary, disk)
    except OSError:
        with contextlib.suppress(OSError):  # the first error is what matters; a leftover is removed when it is found
            disk.remove(temporary)
        raise
    disk.replace(temporary, packed)
    disk.sync_folder(packed.parent)
    disk.remove(plain)
    disk.sync_folder(packed.parent)
    return packed


def _write_packed(plain: Path, target: Path, disk: Disk) -> None:
    descriptor = disk.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(disk, descriptor, _GZIP_HEAD + bytes(HASH_BYTES))
        digest, deflate, crc, size = hashlib.sha256(), zlib.compressobj(_LEVEL, wbits=-15), 0, 0
        with plain.open("rb") as source:
            while piece := source.read(_PIECE):
                crc, size = zlib.crc32(piece, crc), size + len(piece)
                packed = deflate.compress(piece)
                digest.update(packed)
                write_all(disk, descriptor, packed)
        packed = deflate.flush() + _GZIP_TAIL.pack(crc, size & 0xFFFFFFFF)
        digest.update(packed)
        write_all(disk, descriptor, packed)
        os.lseek(descriptor, len(_GZIP_HEAD), os.SEEK_SET)
        write_all(disk, descriptor, digest.digest())
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)


def unpack_segment(data: bytes) -> tuple[bytes, bool]:
    """Return the plain bytes of a compressed segment, and whether every byte of it is what was written.

    Of a damaged one it returns what can still be decompressed, so that the damage can be named by entry.
    """
    start = len(_GZIP_HEAD) + HASH_BYTES
    behind = memoryview(data)[start:]
    if data[: len(_GZIP_HEAD)] == _GZIP_HEAD and hashlib.sha256(behind).digest() == data[len(_GZIP_HEAD) : start]:
        return zlib.decompress(behind[: -_GZIP_TAIL.size], wbits=-15), True
    inflate, plain = zlib.decompressobj(wbits=-15), bytearray()
    for offset in range(0, len(behind), _STEP):
        try:
            plain += inflate.decompress(behind[offset : offset + _STEP])
        except zlib.error:
            break
    return bytes(plain), False
