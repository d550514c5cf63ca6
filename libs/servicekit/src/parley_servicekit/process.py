"""`run`: the life of a process: start, warm up, ready, drain, stop. Every `__main__` of a server ends in it.

    @asynccontextmanager
    async def start(lifecycle: Lifecycle) -> AsyncIterator[None]:  # bootstrap.py
        engine = await load_engine(settings)      # may take long: calls get UNAVAILABLE, NOT_READY meanwhile
        try:
            add_RecognitionServiceServicer_to_server(RecognitionServicer(engine), lifecycle.server)
            yield                                 # ready; comes back here once drained
        finally:
            await engine.close()

    def main() -> None:                           # __main__.py
        settings = load_settings(Settings)
        sys.exit(run(settings, start, service_names=["parley.asr.v1.RecognitionService"]))

The first SIGTERM or SIGINT drains: NOT_SERVING at once, new calls refused with a retry hint, running ones go
on for up to `drain_grace_ms`. The second ends them at once, the third ends the process. Exit codes: 0 stopped
as asked, 1 failed, 2 the configuration has to change first (a port is taken; starting again would not help).
"""

import asyncio
import importlib.util
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import cast

import grpc.aio
from grpc_reflection.v1alpha import reflection
from prometheus_client import REGISTRY

from parley.link.v1.link_service_pb2_grpc import add_LinkServiceServicer_to_server
from parley_servicekit.admission import Admission
from parley_servicekit.event_loop_lag import observed_loop_lag
from parley_servicekit.faults import FaultCode, fault_in
from parley_servicekit.grpc_faults import FaultInterceptor
from parley_servicekit.grpc_handlers import LateServicers
from parley_servicekit.grpc_server import MESSAGE_MAX_BYTES, bind, new_server
from parley_servicekit.link_servicer import CONNECT, LinkServicer, find_method
from parley_servicekit.logs import configure_logs, get_logger
from parley_servicekit.metrics import serve_metrics
from parley_servicekit.process_metrics import ProcessMetrics
from parley_servicekit.serving import Serving
from parley_servicekit.settings import ProcessSettings
from parley_servicekit.traces import Traces, open_traces

# Time for the last answers to leave the socket, and for cancelled servicers to clean up.
_FLUSH_S = 0.25
_CLEAN_UP_MS = 2000
_log = get_logger()


class Lifecycle:
    """What a process's `start` gets to work with.

    server: for `add_…Servicer_to_server(servicer, lifecycle.server)`; calls come in once `start` has yielded.
    serving: flip services on and off while running.
    metrics: of the process as such; `error` counts what is told otherwise than as the end of a call.
    draining: set when the process begins to go away; streams that have no end of their own should end then.
    traces: where spans begin; off unless the environment names a collector.
    """

    def __init__(
        self, servicers: LateServicers, serving: Serving, metrics: ProcessMetrics, traces: Traces
    ) -> None:
        # It has what generated code calls; their annotation asks for a whole server.
        self.server = cast(grpc.aio.Server, servicers)
        self.serving = serving
        self.metrics = metrics
        self.traces = traces
        self.draining = asyncio.Event()
        self._signal_count = 0
        self._deadline: asyncio.Timeout | None = None

    def stop(self) -> None:
        """Begin to drain, or give up warming up. An engine that cannot go on may call it; signals do."""
        if not self.draining.is_set():
            self.draining.set()
            self._cut()

    def _receive_signal(self) -> None:
        self._signal_count += 1
        if self._signal_count >= 3:
            os._exit(1)
        if self.draining.is_set():
            self._cut()
        self.stop()

    def _cut(self) -> None:
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def _cut_by_stop(self, limit_ms: int | None) -> AsyncIterator[asyncio.Timeout]:
        """Ends the block after `limit_ms`, or when told to stop meanwhile; `.expired()` tells."""
        try:
            async with asyncio.timeout(None if limit_ms is None else limit_ms / 1000) as deadline:
                self._deadline = deadline
                try:
                    yield deadline
                finally:
                    self._deadline = None
        except TimeoutError:
            if not deadline.expired():
                raise


Start = Callable[[Lifecycle], AbstractAsyncContextManager[None]]


def run(
    settings: ProcessSettings,
    start: Start,
    *,
    service_names: Sequence[str],
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    message_max_bytes: int = MESSAGE_MAX_BYTES,
    rpc_max_count: int = 1000,
    linked_service_names: Sequence[str] = (),
) -> int:
    """Run a process until it is told to stop; the result is its exit code.

    service_names: the gRPC services that `start` registers, for health and reflection.
    interceptors: run inside ours, so that they may raise Fault, and only for calls that are let in.
    rpc_max_count: RPCs at once, over links or not; more get RESOURCE_EXHAUSTED, AT_CAPACITY.
    linked_service_names: the services that other processes of Parley may also call over links.
    """
    configure_logs(settings.process_name(), settings.log_level, settings.log_format)
    admission = Admission(rpc_max_count, uncounted=frozenset({CONNECT}))
    traces = open_traces(settings.process_name())
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(
                _serve(
                    settings,
                    start,
                    service_names,
                    admission,
                    interceptors,
                    message_max_bytes,
                    traces,
                    linked_service_names,
                )
            )
    except Exception as error:
        fault = fault_in(error)
        if fault is None:
            _log.error("process.failed_unexpectedly", exc_info=error)
            return 1
        _log.error("process.failed", reason=fault.reason, message=fault.message)
        return 2 if fault.code in (FaultCode.FAILED_PRECONDITION, FaultCode.INVALID_ARGUMENT) else 1
    finally:
        traces.close()
    return 0


async def _serve(
    settings: ProcessSettings,
    start: Start,
    service_names: Sequence[str],
    admission: Admission,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    message_max_bytes: int,
    traces: Traces,
    linked_service_names: Sequence[str],
) -> None:
    """The process within its event loop."""
    name = settings.process_name()
    started_at = time.monotonic()
    metrics = ProcessMetrics(name, REGISTRY)
    ours: list[grpc.aio.ServerInterceptor] = [FaultInterceptor(f"{name}.parley", metrics.error), admission]
    server = new_server(
        [*ours, *interceptors], message_max_bytes=message_max_bytes, rpc_max_count=admission.rpc_max_count
    )
    serving = Serving(service_names)
    servicers = LateServicers()
    server.add_generic_rpc_handlers((servicers,))
    lifecycle = Lifecycle(servicers, serving, metrics, traces)
    if linked_service_names:
        find = find_method([*ours, *interceptors], servicers, linked_service_names)
        links = LinkServicer(find, lifecycle.draining, f"{name}.parley")
        add_LinkServiceServicer_to_server(links, lifecycle.server)
    await serving.register(server)
    reflection.enable_server_reflection([*service_names, *_OWN_SERVICES], server)
    async with AsyncExitStack() as stack:
        stack.enter_context(_signals(lifecycle._receive_signal))
        stack.enter_context(observed_loop_lag(metrics.event_loop_lag.observe))
        grpc_address = bind(server, settings)
        metrics_address = await stack.enter_async_context(
            serve_metrics(
                settings.host, settings.metrics_port, serving.is_ready, settings.variable("metrics_port")
            )
        )
        await server.start()
        stack.push_async_callback(server.stop, 0)
        _log.info("process.starting", grpc=grpc_address, metrics=metrics_address)
        async with lifecycle._cut_by_stop(None):
            await stack.enter_async_context(start(lifecycle))
        if not lifecycle.draining.is_set():
            admission.open()
            await serving.open()
            _log.info("process.ready", warm_up_ms=round((time.monotonic() - started_at) * 1000))
            if settings.ready_line:
                _print_ready_line(name, grpc_address, metrics_address)
            await lifecycle.draining.wait()
        await _drain(lifecycle, server, admission, settings.drain_grace_ms)
    _log.info("process.stopped", up_s=round(time.monotonic() - started_at))


async def _drain(lifecycle: Lifecycle, server: grpc.aio.Server, admission: Admission, grace_ms: int) -> None:
    """Refuse new RPCs, wait for the running ones, cancel those that outlast the grace."""
    admission.close()
    await lifecycle.serving.close()
    _log.info("process.draining", running_count=admission.running_count, grace_ms=grace_ms)
    async with lifecycle._cut_by_stop(grace_ms) as deadline:
        await admission.wait_idle()
    if deadline.expired():
        _log.warning("process.drain_cut", running_count=admission.running_count)
        admission.cut()
        async with lifecycle._cut_by_stop(_CLEAN_UP_MS):
            await admission.wait_idle()
    # Health watches never end by themselves, so the server's own grace is only for what is still being sent.
    await server.stop(_FLUSH_S)


_OWN_SERVICES = ("grpc.health.v1.Health", reflection.SERVICE_NAME)


def _print_ready_line(name: str, grpc_address: str, metrics_address: str) -> None:
    line = {"event": "ready", "process": name, "grpc": grpc_address, "metrics": metrics_address}
    print(json.dumps(line), flush=True)  # noqa: T201 - standard output is for the supervisor


@contextmanager
def _signals(receive: Callable[[], None]) -> Iterator[None]:
    """Call `receive` in the loop on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        try:
            loop.add_signal_handler(number, receive)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(receive))
    try:
        yield
    finally:
        for number in numbers:
            try:
                loop.remove_signal_handler(number)
            except NotImplementedError:
                signal.signal(number, signal.SIG_DFL)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed, else asyncio's own."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop  # noqa: PLC0415 - optional

    return uvloop.new_event_loop
