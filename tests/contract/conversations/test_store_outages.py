"""Stores that die, hang, come back or are damaged: nothing accepted is lost or doubled, and callers are told."""

import asyncio
import contextlib
import socket
import sqlite3
import stat
import struct
import threading
import time
from pathlib import Path

import pytest
import uvloop

from parley_gateway.adapters.conversation_rows import StoreLimits
from parley_gateway.adapters.redis_conversations import RedisConversations
from parley_gateway.adapters.sqlite_conversations import SqliteConversations
from parley_gateway.ports import ConversationStore
from parley_servicekit.faults import Fault
from support.conversation_samples import conversation, eventually, exchange, refusal, turn
from support.killed_writer import assert_kept, killed_after, writer_process
from support.redis_server import RedisServer


async def test_sqlite_keeps_what_a_killed_process_wrote(tmp_path: Path) -> None:
    begun = conversation("owner")
    file = tmp_path / "state" / "c.sqlite"
    store = SqliteConversations(file)
    await store.create(begun)
    await store.close()
    promised = killed_after(50, "sqlite", str(file), "-", begun.conversation_id, "1")
    store = SqliteConversations(file)
    assert_kept((await store.open(begun.conversation_id, "owner")).events, promised)
    await store.close()


async def test_redis_keeps_what_was_appended_when_it_is_killed(own_redis: RedisServer) -> None:
    begun = conversation("owner")
    store = RedisConversations(own_redis.url)
    fence = (await store.create(begun)).fence
    for number in range(30):
        await store.append(begun.conversation_id, fence, [turn(number)])
    own_redis.kill()
    assert (
        await refusal(store.append(begun.conversation_id, fence, [turn(30)]))
    ).reason == "STORE_UNAVAILABLE"
    own_redis.start()
    await store.append(begun.conversation_id, fence, [turn(30)])
    opened = await store.open(begun.conversation_id, "owner")
    assert list(opened.events) == [turn(number) for number in range(31)]
    await store.close()


async def test_a_redis_that_hangs_is_unavailable_at_once_and_doubles_nothing(own_redis: RedisServer) -> None:
    begun = conversation("owner")
    name = begun.conversation_id
    store = RedisConversations(own_redis.url)
    fence = (await store.create(begun)).fence
    await store.append(name, fence, [turn(1)])
    own_redis.freeze()
    started = time.monotonic()
    fault = await refusal(store.append(name, fence, [turn(2, "private")]))
    took_s = time.monotonic() - started
    own_redis.thaw()
    assert (fault.reason, fault.retryable) == ("STORE_UNAVAILABLE", True)
    assert "private" not in f"{fault} {fault.metadata}"
    assert took_s < 3
    await store.append(name, fence, [turn(2, "private")])
    await store.append(name, fence, [turn(3)])
    assert list((await store.read(name, "owner")).events) == [turn(1), turn(2, "private"), turn(3)]
    await store.close()


def test_a_redis_behind_a_proxy_that_resets_connections_is_unavailable_on_a_busy_loop() -> None:
    """Over uvloop, which raises errors of its own. The reset is there before the first byte is written."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_reset_all, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]

        async def ping() -> set[str]:
            store = RedisConversations(f"redis://127.0.0.1:{port}/0")
            async with asyncio.TaskGroup() as tasks:
                busy = tasks.create_task(_keep_busy(), name="busy")
                reasons = {(await refusal(store.ping())).reason for _ in range(10)}
                busy.cancel()
            await store.close()
            return reasons

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(ping()) == {"STORE_UNAVAILABLE"}


def _reset_all(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


async def _keep_busy() -> None:
    while True:
        time.sleep(0.003)  # noqa: ASYNC251 - it is to hold the loop up
        await asyncio.sleep(0)


async def test_a_wrong_redis_password_is_unavailable_and_not_told(own_redis: RedisServer) -> None:
    own_redis.command("CONFIG", "SET", "requirepass", "right-secret")
    wrong = RedisConversations(own_redis.url.replace("redis://", "redis://:wrong-secret@"))
    fault = await refusal(wrong.ping())
    assert fault.reason == "STORE_UNAVAILABLE"
    assert "secret" not in f"{fault!r} {fault} {fault.metadata} {fault.__cause__!r}"
    await wrong.close()
    right = RedisConversations(own_redis.url.replace("redis://", "redis://:right-secret@"))
    await right.ping()
    await right.close()


async def test_redis_forgets_all_parts_of_a_conversation_together(own_redis: RedisServer) -> None:
    begun = conversation("owner")
    store = RedisConversations(own_redis.url, StoreLimits(time_to_live_ms=100_000))
    fence = (await store.create(begun)).fence
    await store.append(begun.conversation_id, fence, exchange(1))
    for part in ("meta", "events", "keys"):
        answer = own_redis.command("PTTL", f"parley:conv:{{{begun.conversation_id}}}:{part}")
        assert 50_000 < int(answer.strip(b":\r\n")) <= 100_000
    await store.close()


@pytest.mark.parametrize(
    "damage",
    [
        ("LSET", "events", "0", "not json, but private"),
        ("LSET", "events", "0", '{"kind":"turn_committed","version":1,"turn_id":5}'),
        ("LSET", "events", "0", "[" * 100_000),
        ("SET", "events", "private"),
        ("HSET", "meta", "body", "{}"),
        ("HSET", "meta", "fence", "private"),
        ("HDEL", "meta", "update_us"),
    ],
)
async def test_a_damaged_redis_row_is_told_without_its_text(
    own_redis: RedisServer, damage: tuple[str, ...]
) -> None:
    begun, whole = conversation("owner"), conversation("owner")
    store = RedisConversations(own_redis.url)
    fence = (await store.create(begun)).fence
    await store.create(whole)
    await store.append(begun.conversation_id, fence, [turn(1)])
    command, part, *rest = damage
    own_redis.command(command, f"parley:conv:{{{begun.conversation_id}}}:{part}", *rest)
    fault = await refusal(store.open(begun.conversation_id, "owner"))
    assert fault.reason == "STORE_CORRUPT"
    assert "private" not in f"{fault!r} {fault} {fault.metadata}"
    assert whole in (await store.list_page("owner", 10)).conversations
    await store.delete(begun.conversation_id, "owner")
    await store.close()


async def test_a_damaged_sqlite_row_or_file_is_told_without_its_text(tmp_path: Path) -> None:
    begun, whole = conversation("owner"), conversation("owner")
    file = tmp_path / "c.sqlite"
    store = SqliteConversations(file)
    fence = (await store.create(begun)).fence
    await store.create(whole)
    await store.append(begun.conversation_id, fence, [turn(1)])
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE events SET body = 'private'")
    fault = await refusal(store.open(begun.conversation_id, "owner"))
    assert fault.reason == "STORE_CORRUPT"
    assert "private" not in f"{fault!r} {fault} {fault.metadata}"
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE conversations SET body = x'ff' WHERE owner = 'owner' AND event_count > 0")
    assert (await store.list_page("owner", 10)).conversations == (whole,)
    await store.close()
    other = tmp_path / "other.sqlite"
    other.write_bytes(b"this is no database, it is private" * 100)
    store = SqliteConversations(other)
    assert (await refusal(store.ping())).reason == "STORE_CORRUPT"
    await store.close()


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    store = SqliteConversations(file)
    assert (await refusal(store.create(conversation("owner")))).reason == "STORE_CORRUPT"
    await store.close()


async def test_a_locked_sqlite_file_is_unavailable_until_it_is_free(tmp_path: Path) -> None:
    begun = conversation("owner")
    file = tmp_path / "c.sqlite"
    store = SqliteConversations(file)
    fence = (await store.create(begun)).fence
    blocker = sqlite3.connect(file, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    assert (
        await refusal(store.append(begun.conversation_id, fence, [turn(1)]))
    ).reason == "STORE_UNAVAILABLE"
    assert time.monotonic() - started < 3
    blocker.execute("ROLLBACK")
    blocker.close()
    await store.append(begun.conversation_id, fence, [turn(1)])
    assert (await store.read(begun.conversation_id, "owner")).events == (turn(1),)
    await store.close()


async def test_a_full_disk_is_unavailable_and_leaves_the_log_whole(tmp_path: Path) -> None:
    begun = conversation("owner")
    file = tmp_path / "c.sqlite"
    store = SqliteConversations(file)
    await store.create(begun)
    await store.close()
    with writer_process("sqlite", str(file), "-", begun.conversation_id, "1", "300000") as process:
        lines = (await asyncio.to_thread(process.communicate))[0].splitlines()
    assert lines[-1].startswith("STORE_UNAVAILABLE")
    assert len(lines) > 10
    store = SqliteConversations(file)
    assert_kept((await store.read(begun.conversation_id, "owner")).events, [int(line) for line in lines[:-1]])
    await store.close()


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = SqliteConversations(tmp_path / "file" / "c.sqlite")
    assert (await refusal(store.ping())).reason == "STORE_UNAVAILABLE"
    (tmp_path / "file").unlink()
    await store.ping()
    await store.close()


async def test_only_the_owner_of_the_process_may_read_the_file(tmp_path: Path) -> None:
    store: ConversationStore = SqliteConversations(tmp_path / "state" / "c.sqlite")
    await store.create(conversation("owner"))
    for file in [*(tmp_path / "state").iterdir()]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    await store.close()


async def test_deleted_text_is_not_left_in_the_file(tmp_path: Path) -> None:
    begun = conversation("owner")
    store = SqliteConversations(tmp_path / "c.sqlite")
    fence = (await store.create(begun)).fence
    await store.append(begun.conversation_id, fence, [turn(number, "very-private") for number in range(50)])
    await store.delete(begun.conversation_id, "owner")
    for file in ("c.sqlite", "c.sqlite-wal"):
        assert b"very-private" not in (tmp_path / file).read_bytes()
    await store.close()


async def test_a_cancelled_call_leaves_the_store_usable(tmp_path: Path, own_redis: RedisServer) -> None:
    for store in (SqliteConversations(tmp_path / "c.sqlite"), RedisConversations(own_redis.url)):
        begun = conversation("owner")
        fence = (await store.create(begun)).fence
        for number in range(30):
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(store.append(begun.conversation_id, fence, [turn(number)]))
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                task.cancel()
            await store.append(begun.conversation_id, fence, [turn(number)])
        assert list((await store.read(begun.conversation_id, "owner")).events) == [turn(n) for n in range(30)]
        await store.close()


async def test_redis_comes_back_with_an_empty_script_cache(own_redis: RedisServer) -> None:
    store = RedisConversations(own_redis.url)
    await store.create(conversation("owner"))
    own_redis.command("SCRIPT", "FLUSH")
    begun = conversation("owner")
    await store.create(begun)
    await eventually(lambda: _is_listed(store, begun.conversation_id))
    await store.close()


async def _is_listed(store: ConversationStore, name: str) -> bool:
    return any(each.conversation_id == name for each in (await store.list_page("owner", 10)).conversations)


@pytest.mark.parametrize("state", ["healthy", "damaged", "script-cache-empty"])
async def test_a_cancelled_call_is_cancelled_whatever_redis_answers(
    own_redis: RedisServer, state: str
) -> None:
    begun = conversation("owner")
    store = RedisConversations(own_redis.url)
    fence = (await store.create(begun)).fence
    if state == "damaged":
        own_redis.command("SET", f"parley:conv:{{{begun.conversation_id}}}:keys", "of another type")
    for number in range(200):
        if state == "script-cache-empty":
            own_redis.command("SCRIPT", "FLUSH")
        waiter = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(swallowing_faults(store, begun.conversation_id, fence, number, waiter))
            await waiter.wait()
            await asyncio.sleep(number % 20 * 0.0001)
            is_asked = task.cancel()
        assert task.cancelled() == is_asked
    await store.close()


async def swallowing_faults(
    store: ConversationStore, name: str, fence: int, number: int, started: asyncio.Event
) -> None:
    """Like a loop that tries again after a fault: it must not outlive its cancellation."""
    started.set()
    with contextlib.suppress(Fault):
        await store.append(name, fence, [turn(number)])
