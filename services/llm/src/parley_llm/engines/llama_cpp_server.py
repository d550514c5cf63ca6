"""The program of the child process in which llama.cpp runs. Started by `llama_cpp`, never by people.

A crash of native code ends this process and not the service. It reads one JSON line of configuration from standard
input, answers with one JSON line on standard output (`{"url": …}` or `{"failure": …}`) and serves llama.cpp's own HTTP
on loopback until standard input ends, which happens when the parent goes away, however it does.
"""

import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

_PR_SET_PDEATHSIG = 1
_SLOT_CACHE_MIB = 256


def main() -> None:
    """Serve until the parent goes away."""
    # llama.cpp may write to standard output, which is for our answer alone.
    answer_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    config = json.loads(sys.stdin.buffer.readline())
    _die_with(config["parent_pid"])
    threading.Thread(target=_exit_at_end_of, args=(sys.stdin.buffer,), daemon=True).start()
    failure = _unreadable(Path(config["model_file"]))
    if failure is None:
        try:
            server = _serve(config)
        except RuntimeError:
            failure = "llama.cpp cannot load it: damaged, of an unknown kind, or too big for the memory"
    if failure is not None:
        print(json.dumps({"failure": failure}), file=answer_to, flush=True)
        os._exit(1)
    print(json.dumps({"url": server.listening_address}), file=answer_to, flush=True)
    threading.Event().wait()


def _serve(config: dict[str, Any]) -> Any:
    """llama.cpp's server; it answers from now on. Raises RuntimeError, without a reason, when it cannot."""
    import xllamacpp  # noqa: PLC0415 - 100 MB of native code, only for a model that is there

    parameters = xllamacpp.CommonParams()
    parameters.model.path = config["model_file"]
    parameters.model_alias = {config["model_name"]}
    parameters.n_ctx = config["context_token_count"] * config["parallel_count"]
    parameters.n_parallel = config["parallel_count"]
    parameters.cpuparams.n_threads = config["thread_count"]
    parameters.cpuparams_batch.n_threads = config["thread_count"]
    parameters.n_threads_http = config["parallel_count"] + 2
    parameters.cache_ram_mib = _SLOT_CACHE_MIB
    parameters.use_jinja = True
    parameters.api_keys = [config["api_key"]]
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.verbosity = -1  # its log would hold what people say
    return xllamacpp.Server(parameters)


def _unreadable(model_file: Path) -> str | None:
    """Why it is no model at all; llama.cpp itself gives no reasons."""
    try:
        with model_file.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        return f"it cannot be read: {os.strerror(error.errno or 0)}"
    return None if magic == b"GGUF" else "it is not a GGUF file"


def _die_with(parent_pid: int) -> None:
    """Have the kernel end us with our parent, where it can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it went away before we asked
        os._exit(0)


def _exit_at_end_of(stream: BinaryIO) -> None:
    """End the process, native threads and all, once the parent's end of the pipe is closed."""
    while stream.read(1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
