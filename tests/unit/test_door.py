"""The door of a running process: who may come in, what happens to what is asked, and what is left when it closes."""

import asyncio
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from claire.model.errors import ClaireError, JournalError, SafetyRefusal, UsageError
from claire.services import door
from claire.services.door import LONGEST_LINE, Door, Request, door_of, knock

pytestmark = pytest.mark.asyncio


async def echo(request: Request) -> dict[str, Any]:
    """Say back what was asked, or fail as told."""
    if request.do == "refuse":
        raise UsageError("not like this")
    if request.do == "forbid":
        raise SafetyRefusal("never")
    if request.do in ("pause", "orders"):
        raise JournalError("the disk is full")
    if request.do == "break":
        raise ValueError("a fault")
    return {"did": request.do, "by": request.operator}


async def asked(run_dir: Path, do: str = "ping") -> dict[str, Any] | None:
    return await asyncio.to_thread(knock, run_dir, Request(do, "ada"), patience_s=5)


async def test_it_answers_its_owner_alone_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Door(tmp_path, echo) as opened:
        assert await asked(tmp_path) == {"did": "ping", "by": "ada"}
        assert await asyncio.gather(*(asked(tmp_path) for _ in range(8))) == [{"did": "ping", "by": "ada"}] * 8
        place = door_of(tmp_path)
        assert place == tmp_path / "control.sock"
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        opened.check()
    assert list(tmp_path.iterdir()) == []
    assert await asked(tmp_path) is None


async def test_where_the_path_is_too_long_a_file_names_a_shorter_one(tmp_path: Path) -> None:
    run_dir = tmp_path / ("long" * 30)
    run_dir.mkdir()
    async with Door(run_dir, echo):
        place = door_of(run_dir)
        assert place is not None
        assert place.parent != run_dir
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        assert await asked(run_dir) == {"did": "ping", "by": "ada"}
    assert not place.parent.exists()
    assert list(run_dir.iterdir()) == []


async def test_what_a_killed_process_left_is_nobody_and_the_next_one_opens_its_own(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))
    assert await asked(tmp_path) is None
    async with Door(tmp_path, echo):
        assert await asked(tmp_path) == {"did": "ping", "by": "ada"}


async def test_another_user_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Door(tmp_path, echo):
        monkeypatch.setattr(door, "is_ours", lambda _: False)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(SafetyRefusal, match="another user answers there"):
            await asked(tmp_path)


@pytest.mark.parametrize(
    ("do", "kind", "says"), [("refuse", UsageError, "not like this"), ("forbid", SafetyRefusal, "never")]
)
async def test_a_refusal_arrives_as_what_it_is_and_stops_nothing(
    tmp_path: Path, do: str, kind: type[ClaireError], says: str
) -> None:
    async with Door(tmp_path, echo) as opened:
        with pytest.raises(kind, match=says):
            await asked(tmp_path, do)
        opened.check()


async def test_what_cannot_be_kept_stops_the_run_but_a_look_that_fails_does_not(tmp_path: Path) -> None:
    async with Door(tmp_path, echo) as opened:
        with pytest.raises(ClaireError, match="the disk is full"):
            await asked(tmp_path, "orders")
        opened.check()
        with pytest.raises(ClaireError, match="the disk is full"):
            await asked(tmp_path, "pause")
        with pytest.raises(JournalError, match="the disk is full"):
            opened.check()


async def test_a_fault_of_the_program_is_not_lost(tmp_path: Path) -> None:
    async with Door(tmp_path, echo) as opened:
        with pytest.raises(ClaireError, match="ended before it answered"):
            await asked(tmp_path, "break")
        with pytest.raises(ValueError, match="a fault"):
            opened.check()


@pytest.mark.parametrize("line", [b"no json\n", b'{"do": 7}\n', b"\xff\n"])
async def test_what_is_no_request_is_told_so(tmp_path: Path, line: bytes) -> None:
    async with Door(tmp_path, echo) as opened:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
        writer.write(line)
        assert b"this is no request" in await reader.readline()
        writer.write(b'{"do":"ping"}\n{"do":"again"}\n')  # the connection is good for more
        assert b'"did":"ping"' in await reader.readline()
        assert b'"did":"again"' in await reader.readline()
        writer.close()
        opened.check()


async def test_who_says_nothing_or_too_much_is_let_go_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "PATIENCE_S", 0.2)
    async with Door(tmp_path, echo):
        silent, silent_writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
        loud, loud_writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
        loud_writer.write(b"x" * (LONGEST_LINE + 8192))
        assert await asked(tmp_path) == {"did": "ping", "by": "ada"}
        assert await silent.read() == b""
        with suppress(ConnectionError):  # what it still had to say makes the end a reset
            assert await loud.read() == b""
        for writer in (silent_writer, loud_writer):
            writer.close()


async def test_a_process_that_is_stuck_is_told_with_what_stops_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(tmp_path / "control.sock"))
        stuck.listen(1)
        with pytest.raises(ClaireError, match="claire kill stops its orders"):
            await asyncio.to_thread(knock, tmp_path, Request("ping"), patience_s=0.1)
