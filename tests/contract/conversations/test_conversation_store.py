"""What every conversation store promises (`ports.ConversationStore`), over each backend, plain and queued."""

import asyncio
from dataclasses import replace

import pytest

from parley_gateway.adapters.conversation_rows import StoreLimits
from parley_gateway.conversation import Conversation, Renamed, messages
from parley_gateway.ports import ConversationStore
from support.conversation_backends import Backend
from support.conversation_samples import conversation, eventually, exchange, refusal, session, turn


async def test_a_new_conversation_is_there_and_empty(backend: Backend, owner: str) -> None:
    begun = conversation(owner, title="first", persona="magic 8-ball", system_prompt="Be brief.")
    async with backend.store() as store:
        opened = await store.create(begun)
        stored = await store.read(begun.conversation_id, owner)
    assert (opened.conversation, opened.events) == (begun, ())
    assert (stored.conversation, stored.events) == (begun, ())


async def test_events_come_back_as_they_were_and_in_order(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    events = [session(), *exchange(1), *exchange(2)]
    async with backend.store() as store:
        opened = await store.create(begun)
        for event in events:
            await store.append(begun.conversation_id, opened.fence, [event])
        stored = await store.read(begun.conversation_id, owner)
    async with backend.store() as store:
        again = await store.open(begun.conversation_id, owner)
    assert list(stored.events) == events
    assert list(again.events) == events
    assert [message.text for message in messages(again.events)] == [
        "question 1",
        "Answer 1, and more.",
        "question 2",
        "Answer 2, and more.",
    ]
    assert again.conversation.update_time != begun.update_time
    assert replace(again.conversation, update_time=begun.update_time) == begun


async def test_an_event_stored_twice_is_kept_once(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    async with backend.store() as store:
        fence = (await store.create(begun)).fence
        await store.append(begun.conversation_id, fence, [turn(1), turn(1), turn(2)])
        await store.append(begun.conversation_id, fence, [turn(2), turn(3)])
        await store.append(begun.conversation_id, fence, [turn(1), turn(2), turn(3)], late=True)
        stored = await store.read(begun.conversation_id, owner)
    assert list(stored.events) == [turn(1), turn(2), turn(3)]


async def test_a_later_opening_shuts_out_the_earlier_one(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    name = begun.conversation_id
    async with backend.store() as first, backend.store() as second:
        created = await first.create(begun)
        await first.append(name, created.fence, [turn(1)])
        opened = await second.open(name, owner)
        assert opened.fence > created.fence
        assert list(opened.events) == [turn(1)]
        assert (await refusal(first.append(name, created.fence, [turn(2)]))).reason == "TAKEN_OVER"
        await second.append(name, opened.fence, [turn(3)])
        back = await first.open(name, owner)
        assert back.fence > opened.fence
        assert (await refusal(second.append(name, opened.fence, [turn(4)]))).reason == "TAKEN_OVER"
        await first.append(name, back.fence, [turn(5)])
        assert list((await first.read(name, owner)).events) == [turn(1), turn(3), turn(5)]


async def test_what_was_promised_before_a_takeover_is_kept(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    name = begun.conversation_id
    async with backend.store() as store:
        old = await store.create(begun)
        new = await store.open(name, owner)
        # Both sessions call their first turn t1; neither knows of the other's.
        await store.append(name, new.fence, [turn(1, "to the new session")])
        await store.append(name, old.fence, [turn(1, "to the old session")], late=True)
        await store.append(name, new.fence, [turn(2)])
        texts = [message.text for message in messages((await store.read(name, owner)).events)]
    assert texts == ["to the new session", "to the old session", "question 2"]


async def test_of_many_openings_at_once_exactly_one_may_write(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    name = begun.conversation_id
    async with backend.store() as store, backend.store() as other:
        await store.create(begun)
        async with asyncio.TaskGroup() as tasks:
            opening = [tasks.create_task(each.open(name, owner)) for each in [store, other] * 5]
        fences = [task.result().fence for task in opening]
        assert len(set(fences)) == 10
        for number, fence in enumerate(fences):
            if fence == max(fences):
                await other.append(name, fence, [turn(number)])
            else:
                assert (await refusal(store.append(name, fence, [turn(number)]))).reason == "TAKEN_OVER"
        assert len((await store.read(name, owner)).events) == 1


async def test_two_writers_at_once_lose_nothing_and_keep_their_order(backend: Backend, owner: str) -> None:
    begun = conversation(owner)

    async def write(store: ConversationStore, fence: int, first: int) -> None:
        for number in range(first, first + 40):
            await store.append(begun.conversation_id, fence, [turn(number)])

    async with backend.store() as store, backend.store() as other:
        fence = (await store.create(begun)).fence
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(store, fence, 0))
            tasks.create_task(write(other, fence, 100))
        events = (await store.read(begun.conversation_id, owner)).events
    assert [event for event in events if event in [turn(number) for number in range(40)]] == [
        turn(number) for number in range(40)
    ]
    assert len(events) == 80


async def test_a_conversation_is_not_there_for_others(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    name = begun.conversation_id
    async with backend.store() as store:
        created = await store.create(begun)
        for attempt in (
            store.open(name, "somebody else"),
            store.read(name, "somebody else"),
            store.rename(name, "somebody else", "mine now"),
            store.delete(name, "somebody else"),
            store.open(name, ""),
        ):
            assert (await refusal(attempt)).reason == "CONVERSATION_NOT_FOUND"
        assert (await store.list_page("somebody else", 10)).conversations == ()
        await store.append(name, created.fence, [turn(1)])
        assert (await store.read(name, owner)).conversation.title == ""


@pytest.mark.parametrize(
    "name", ["none", "", "a" * 65, "a b", "{x}", "x}:meta", "näme", "../../etc", "a\x00b", "%"]
)
async def test_an_unknown_or_impossible_name_is_not_found(backend: Backend, owner: str, name: str) -> None:
    async with backend.store() as store:
        for attempt in (
            store.open(name, owner),
            store.read(name, owner),
            store.append(name, 1, [turn(1)]),
            store.rename(name, owner, "title"),
            store.delete(name, owner),
        ):
            assert (await refusal(attempt)).reason == "CONVERSATION_NOT_FOUND"


async def test_the_list_is_paged_with_the_latest_first(backend: Backend, owner: str) -> None:
    # Three each begin at the same moment, so that pages end between equal times.
    begun = [conversation(owner, seconds=number // 3, title=f"number {number}") for number in range(23)]
    begun.append(conversation(owner, seconds=-40_000))
    async with backend.store() as store:
        for each in begun:
            await store.create(each)
        await store.create(conversation(f"{owner} too"))
        seen: list[Conversation] = []
        token, pages = "", 0
        while pages == 0 or token:
            page = await store.list_page(owner, 5, token)
            assert len(page.conversations) <= 5
            # What is begun meanwhile is newer than all pages to come.
            await store.create(conversation(owner, seconds=1000 + pages))
            seen += page.conversations
            token, pages = page.next_page_token, pages + 1
        assert len(seen) == len(begun)
        assert {each.conversation_id for each in seen} == {each.conversation_id for each in begun}
        assert [each.create_time for each in seen] == sorted(
            (each.create_time for each in begun), reverse=True
        )
        assert len((await store.list_page(owner, 1000)).conversations) == 24 + pages
        assert (await store.list_page(owner, 10**9)).next_page_token == ""


@pytest.mark.parametrize("token", ["x", "%%%", "AAAA", "a" * 10_000, "ü", "MTIz", "KDE6YQ", "\x00"])
async def test_a_foreign_page_token_is_refused(backend: Backend, owner: str, token: str) -> None:
    async with backend.store() as store:
        fault = await refusal(store.list_page(owner, 10, token))
    assert (fault.reason, fault.field) == ("PAGE_TOKEN_INVALID", "page_token")


async def test_a_new_title_shows_everywhere(backend: Backend, owner: str) -> None:
    begun = conversation(owner, title="old")
    name = begun.conversation_id
    async with backend.store() as store:
        fence = (await store.create(begun)).fence
        renamed = await store.rename(name, owner, "Zug nach Köln 🚆")
        assert renamed.title == "Zug nach Köln 🚆"
        stored = await store.read(name, owner)
        assert stored.conversation == renamed
        assert [type(event) for event in stored.events] == [Renamed]
        assert [each.title for each in (await store.list_page(owner, 10)).conversations] == [renamed.title]
        await store.append(name, fence, [turn(1)])
        with pytest.raises(ValueError, match="title"):
            await store.rename(name, owner, "x" * 201)


async def test_a_deleted_conversation_is_gone(backend: Backend, owner: str) -> None:
    begun, other = conversation(owner), conversation(owner)
    name = begun.conversation_id
    async with backend.store() as store:
        fence = (await store.create(begun)).fence
        await store.create(other)
        await store.append(name, fence, exchange(1))
        await store.delete(name, owner)
        for attempt in (
            store.read(name, owner),
            store.open(name, owner),
            store.append(name, fence, [turn(2)]),
            store.append(name, fence, [turn(2)], late=True),
            store.delete(name, owner),
        ):
            assert (await refusal(attempt)).reason == "CONVERSATION_NOT_FOUND"
        assert (await store.list_page(owner, 10)).conversations == (other,)
        await store.create(begun)
        assert (await store.read(name, owner)).events == ()


@pytest.mark.parametrize(
    "text",
    [
        "Größe, 你好，世界！ こんにちは 안녕",
        "👩‍👩‍👧 e\u0301 \u202eright to left\u202c שלום",
        "quotes \" ' \\ and {braces} and \x00 and \x1f and \u2028 and\nlines\r\n",
        "𝕊 \U0010ffff \ufffe",
        "x" * 60_000,
    ],
)
async def test_text_of_any_script_survives(backend: Backend, owner: str, text: str) -> None:
    begun = conversation(owner, system_prompt=text)
    async with backend.store() as store:
        fence = (await store.create(begun)).fence
        await store.append(begun.conversation_id, fence, [turn(1, text)])
        opened = await store.open(begun.conversation_id, owner)
    assert opened.events == (turn(1, text),)
    assert opened.conversation.system_prompt == text


async def test_one_event_too_large_is_refused_with_all_that_came_with_it(
    backend: Backend, owner: str
) -> None:
    begun = conversation(owner)
    private = "a private matter " * 5000
    async with backend.store() as store:
        fence = (await store.create(begun)).fence
        fault = await refusal(store.append(begun.conversation_id, fence, [turn(1), turn(2, private)]))
        assert fault.reason == "EVENT_TOO_LARGE"
        assert "private" not in f"{fault} {fault.metadata}"
        assert (await store.read(begun.conversation_id, owner)).events == ()
        big = conversation(owner, system_prompt=private)
        assert (await refusal(store.create(big))).reason == "EVENT_TOO_LARGE"


async def test_a_full_conversation_takes_no_more_but_can_be_read(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    name = begun.conversation_id
    async with backend.store(StoreLimits(conversation_max_count=5)) as store:
        fence = (await store.create(begun)).fence
        await store.append(name, fence, [turn(number) for number in range(4)])
        batch = [turn(4), turn(5)]
        assert (await refusal(store.append(name, fence, batch))).reason == "CONVERSATION_FULL"
        await store.append(name, fence, [turn(3), turn(4)])
        assert (await refusal(store.append(name, fence, [turn(5)]))).reason == "CONVERSATION_FULL"
        await store.append(name, fence, [turn(0)])
        assert (await store.rename(name, owner, "still possible")).title == "still possible"
        stored = await store.read(name, owner)
        assert stored.conversation.title == "still possible"
        assert list(stored.events) == [turn(number) for number in range(5)]


async def test_the_size_of_a_conversation_is_bounded_too(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    name = begun.conversation_id
    async with backend.store(StoreLimits(conversation_max_bytes=10_000)) as store:
        fence = (await store.create(begun)).fence
        await store.append(name, fence, [turn(1, "x" * 6000)])
        assert (await refusal(store.append(name, fence, [turn(2, "y" * 6000)]))).reason == "CONVERSATION_FULL"
        await store.append(name, fence, [turn(3, "z" * 2000)])
        assert [event.key for event in (await store.read(name, owner)).events] == ["turn/t1/1", "turn/t3/1"]


async def test_a_conversation_that_nobody_uses_expires(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    name = begun.conversation_id
    async with backend.store(StoreLimits(time_to_live_ms=400)) as store:
        fence = (await store.create(begun)).fence
        await store.append(name, fence, [turn(1)])

        async def is_gone() -> bool:
            return not (await store.list_page(owner, 10)).conversations

        await eventually(is_gone)
        for attempt in (
            store.read(name, owner),
            store.open(name, owner),
            store.append(name, fence, [turn(2)]),
        ):
            assert (await refusal(attempt)).reason == "CONVERSATION_NOT_FOUND"
        await store.create(begun)
        assert (await store.read(name, owner)).events == ()


async def test_creating_twice_is_safe_and_a_name_is_taken_once(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    name = begun.conversation_id
    async with backend.store() as store:
        first = await store.create(begun)
        assert await store.create(begun) == first
        for other in (replace(begun, owner="somebody else"), replace(begun, persona="another")):
            assert (await refusal(store.create(other))).reason == "CONVERSATION_EXISTS"
        await store.open(name, owner)
        assert (await refusal(store.create(begun))).reason == "CONVERSATION_EXISTS"
        assert len((await store.list_page(owner, 10)).conversations) == 1


async def test_a_long_log_comes_back_whole(backend: Backend, owner: str) -> None:
    begun = conversation(owner)
    async with backend.store() as store:
        fence = (await store.create(begun)).fence
        for first in range(0, 3000, 500):
            await store.append(begun.conversation_id, fence, [turn(n) for n in range(first, first + 500)])
        opened = await store.open(begun.conversation_id, owner)
    assert list(opened.events) == [turn(number) for number in range(3000)]


async def test_a_store_that_is_there_answers(backend: Backend) -> None:
    async with backend.store() as store:
        await store.ping()
