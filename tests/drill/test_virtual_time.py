"""The loop of virtual time: it jumps only when nothing can be done, in one order, and a deadlock is reported."""

import asyncio
import socket
import time

import pytest

from claire.drill.virtual import Deadlock, VirtualLoop, run_virtually


def test_hours_pass_in_no_time() -> None:
    async def story(loop: VirtualLoop) -> list[tuple[float, str]]:
        seen: list[tuple[float, str]] = []

        async def ring(after_s: float, name: str) -> None:
            await asyncio.sleep(after_s)
            seen.append((round(loop.time(), 6), name))

        await asyncio.gather(ring(7200, "late"), ring(0.5, "early"), ring(60, "middle"))
        return seen

    began = time.perf_counter()
    assert run_virtually(story) == [(0.5, "early"), (60.0, "middle"), (7200.0, "late")]
    assert time.perf_counter() - began < 5


def test_time_stands_still_while_bytes_are_on_their_way() -> None:
    async def story(loop: VirtualLoop) -> float:
        here, there = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=here)
        echo_reader, echo_writer = await asyncio.open_unix_connection(sock=there)

        async def echo() -> None:
            while data := await echo_reader.read(100):
                echo_writer.write(data)

        task = asyncio.create_task(echo())
        for _ in range(200):
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
        passed = loop.time()
        writer.close()
        await asyncio.wait((task,), timeout=10)
        echo_writer.close()
        return passed

    assert run_virtually(story) == 0.0


def test_a_deadlock_is_reported_and_not_slept_through() -> None:
    async def story(_: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="waits for another"):
        run_virtually(story)
