"""Between the sockets and their reader: a bounded queue of items, and the tasks that fill it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

BATCH: Final = 4_096


class Outbox(Generic[T]):
    """Items in the order of putting. Nothing is dropped: writers look at `is_full` and wait for `room`."""

    def __init__(self, size: int) -> None:
        """Count as full from `size` items on."""
        self.size = size
        self.items: deque[T] = deque()
        """What nobody has read yet."""
        self._reader_waits = False
        self._has_items = asyncio.Event()
        self._has_room = asyncio.Event()
        self._failure: BaseException | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Add an item, also where it is full; tell whether it is."""
        items = self.items
        items.append(item)
        if self._reader_waits:  # once per burst: the rest of it is there when the reader looks
            self._reader_waits = False
            self._has_items.set()
        return len(items) >= self.size

    @property
    def is_full(self) -> bool:
        """Whether the reader is behind."""
        return len(self.items) >= self.size

    async def room(self) -> None:
        """Wait until the reader has taken something, or nobody will any more."""
        while self.is_full and not self._closed:
            self._has_room.clear()
            await self._has_room.wait()

    def fail(self, error: BaseException) -> None:
        """End the reading with an error, after the items that are there."""
        self._failure = self._failure or error
        self._has_items.set()

    def close(self) -> None:
        """End the reading after the items that are there."""
        self._closed = True
        self._has_items.set()
        self._has_room.set()

    async def batches(self) -> AsyncIterator[list[T]]:
        """Yield what has come since the last look.

        Raises:
            BaseException: what `fail` was given.
        """
        items = self.items
        while True:
            while not items:
                if self._failure is not None:
                    raise self._failure
                if self._closed:
                    return
                self._has_items.clear()
                self._reader_waits = True
                await self._has_items.wait()
            if len(items) <= BATCH:
                batch = list(items)
                items.clear()
            else:
                take = items.popleft
                batch = [take() for _ in range(BATCH)]
            yield batch
            self._has_room.set()

    async def each(self) -> AsyncIterator[T]:
        """Yield item by item."""
        async for batch in self.batches():
            for item in batch:
                yield item


class Tasks:
    """Background tasks of one owner: none is forgotten, and none fails unheard."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        """Tell `failed` of what a task raises."""
        self._failed = failed
        self._running: dict[asyncio.Task[None], None] = {}

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run something in the background."""
        task = asyncio.create_task(work, name=name)
        self._running[task] = None
        task.add_done_callback(self._done)

    async def end(self) -> None:
        """Cancel all, and wait until they have tidied up."""
        while self._running:
            tasks = tuple(self._running)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await asyncio.sleep(0)  # lets the callbacks run

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self._failed(error)
