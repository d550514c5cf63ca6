"""What an operator got wrong is said in a line by the container, and goes away with its cause."""

import asyncio

import pytest

from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley_client import Parley
from support.compose_stack import ComposeStack
from support.person import conversing

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIGURATION_HAS_TO_CHANGE = 2
MISTAKES = [
    ("asr", {"PARLEY_ASR_ENGIN": "sherpa"}, "PARLEY_ASR_ENGIN: no such setting; did you mean PARLEY_ASR_ENGINE?"),
    ("llm", {"PARLEY_LLM_PORT": "telephone"}, "PARLEY_LLM_PORT: "),
    ("tts", {"PARLEY_TTS_ALLOW_INSECURE_BIND": "false"}, "PARLEY_TTS_HOST is not a loopback address"),
    (
        "gateway",
        {"PARLEY_GATEWAY_TLS_CERT_FILE": "/none.pem", "PARLEY_GATEWAY_TLS_KEY_FILE": "/none.pem"},
        "PARLEY_GATEWAY_TLS_KEY_FILE: Path does not point to a file",
    ),
    (
        "gateway",
        {"PARLEY_GATEWAY_TLS_CERT_FILE": "/etc/hostname", "PARLEY_GATEWAY_TLS_KEY_FILE": "/etc/hostname"},
        "PARLEY_GATEWAY_TLS_CERT_FILE, PARLEY_GATEWAY_TLS_KEY_FILE: not readable for this user, or no PEM",
    ),
    ("gateway", {"PARLEY_GATEWAY_STATE_FOLDER": "/etc/parley"}, "PARLEY_GATEWAY_STATE_FOLDER cannot be used"),
    ("asr", {"PARLEY_ASR_PROVIDER": "cuda"}, "PARLEY_ASR_PROVIDER=cuda needs sherpa-onnx's CUDA wheel"),
    (
        "asr",
        {"PARLEY_ASR_ENGINE": "sherpa", "PARLEY_ASR_MODEL_FOLDER": "/models/none"},
        "PARLEY_ASR_MODEL_FOLDER: Path does not point to a directory",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "variables", "words"), MISTAKES, ids=[f"{each[0]}-{next(iter(each[1]))}" for each in MISTAKES]
)
async def test_a_mistake_is_named_and_the_container_ends(
    stack: ComposeStack, service: str, variables: dict[str, str], words: str
) -> None:
    options = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
    done = await asyncio.to_thread(stack.run, "run", "--rm", "-T", "--no-deps", *options, service)
    assert words in done.stdout + done.stderr
    assert done.returncode == CONFIGURATION_HAS_TO_CHANGE


async def test_a_published_port_that_is_taken_is_named(stack: ComposeStack) -> None:
    port = str(stack.gateway_port)
    publish = f"127.0.0.1:{port}:50050"
    done = await asyncio.to_thread(
        stack.run, "run", "--rm", "-T", "--no-deps", "--publish", publish, "gateway"
    )
    assert done.returncode != 0
    assert port in done.stderr
    assert "already" in done.stderr


async def test_a_redis_with_a_password_we_lack_is_named_and_taken_again_when_it_lets_us_in(
    stack: ComposeStack,
) -> None:
    redis = stack.containers()["redis"]
    redis.exec_run(["redis-cli", "config", "set", "requirepass", "sesame"])
    redis.exec_run(["redis-cli", "-a", "sesame", "client", "kill", "type", "normal"])
    try:
        async with conversing(stack.gateway, has_microphone=False) as person:
            await person.conversation.send_text("hello")
            assert (await person.reply()).outcome == events_pb2.REPLY_OUTCOME_COMPLETED
        async with Parley(stack.gateway) as parley:
            assert not (await parley.status()).is_store_available
        logs = await asyncio.to_thread(stack.logs, "gateway")
        print(logs)
        assert "store.away" in logs
        assert "Authentication" in logs
    finally:
        redis.exec_run(["redis-cli", "-a", "sesame", "config", "set", "requirepass", ""])
    await stack.wait_until_whole()
    async with Parley(stack.gateway) as parley:
        assert (await parley.get_conversation(person.conversation_id)).turns[0].text == "hello"
