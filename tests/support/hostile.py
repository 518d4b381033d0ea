"""What a file from a stranger may do to us: give a right result, or one line of refusal."""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import psutil
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from strategies import FULL

from gvtzoo.core.errors import GvtzooError

MOST_MEMORY = 300 * 2**20  # bytes, beyond what the process has
RESERVED = 2**30  # bytes of address space, touched or not
DEADLINE = 60  # seconds for one input; a hang, not slowness, is what is looked for
LONGEST_LINE = 1100


def fuzz(examples: int) -> settings:
    """Few examples; a hundred times as many in the profile ``fuzz``."""
    full = FULL or settings.get_current_profile_name() == "fuzz"
    return settings(
        max_examples=examples * (int(os.environ.get("GVTZOO_FUZZ_TIMES", 100)) if full else 1),
        deadline=None,  # see `outcome`: a deadline that also ends what hangs
        derandomize=not full,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


FORBIDDEN = {
    *("os.system", "os.exec", "os.fork", "subprocess.Popen", "socket.connect"),
    *("pickle.find_class", "os.remove", "os.rename", "os.mkdir", "os.symlink", "os.link"),
}


class Hang(BaseException):
    """Not an Exception, which the code under test may catch."""


class _Watch:
    """Notes what no reader of files does: start programs, write, connect, unpickle."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN:
            self.seen.append(f"{event} {arguments}")
        elif event == "open":
            path, mode, flags = arguments
            writes = (mode and set(mode) & set("wax+")) or flags & (os.O_WRONLY | os.O_RDWR)
            if writes and "__pycache__" not in str(path):
                self.seen.append(f"open {path} {mode}")


_watch = _Watch()


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What the call returns, or None where it refuses in one line; anything else is an error."""
    memory = _most_memory()
    _watch.seen, _watch.on = [], True
    signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, DEADLINE)
    try:
        return call(*arguments)
    except GvtzooError as error:
        check_line(str(error))
        return None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        _watch.on = False
        assert not _watch.seen, _watch.seen
        grown = _most_memory() - memory
        assert grown < MOST_MEMORY, f"{grown / 2**20:.0f} MiB more"


def check_line(line: str) -> None:
    """One line for people: no control characters, not endless, not a bare type or traceback."""
    assert line.strip()
    assert line.isprintable() or all(c.isprintable() or ord(c) > 0x9F for c in line), repr(line)
    assert len(line) < LONGEST_LINE


def _hang(*_: Any) -> None:
    raise Hang(f"no answer within {DEADLINE} s")


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    """The one line with which the call refuses, in a process of its own with little memory.

    A process that is killed, hangs, asks for much memory (even if it copes with getting none), or
    ends in any other way is an error here.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _refuse(writer, call, *arguments)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"ended with status {status}: {answer}"
    assert answer.startswith("refused: "), answer
    line = answer.removeprefix("refused: ")
    check_line(line)
    return line


def _refuse(writer: int, call: Callable[..., Any], *arguments: Any) -> None:
    """In the child: answer, and end without the parent's own clean-up."""
    try:
        taken = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (taken + RESERVED, taken + RESERVED))
        resource.setrlimit(resource.RLIMIT_CPU, (DEADLINE, DEADLINE))
        memory = _most_memory()
        try:
            result = call(*arguments)
            answer = f"taken: {type(result)}"
        except GvtzooError as error:
            answer = f"refused: {error}"
            if _lacked_memory(error):
                answer = f"asked for more than {RESERVED} bytes: {error}"
        if _most_memory() - memory > MOST_MEMORY:
            answer = f"took {(_most_memory() - memory) / 2**20:.0f} MiB: {answer}"
    except BaseException:
        answer = traceback.format_exc()
    os.write(writer, answer.encode())
    os._exit(0)


def _lacked_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


# What readers of numbers, names and sizes trip over.
INTEGERS = [0, 1, 2, 7, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
NAMES = ["", "..", "../x", "/etc/passwd", "C:x", "a\\b", "x\0y", "a\nb", "\x1b[2J", "é" * 300]


def values() -> st.SearchStrategy[Any]:
    """A value of any type that YAML knows, mostly one that does not fit."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([*INTEGERS, -1, -(2**31), 10**9, 10**18, 10**40]),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from([*NAMES, "x" * 10_000]),
        st.dates(),
        st.binary(max_size=8),
    )
    nested = st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
        ),
        max_leaves=6,
    )
    return st.one_of(nested, st.integers(1, 200).map(_deep), st.integers(1, 20_000).map(_long))


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _long(count: int) -> list[int]:
    return [1] * count


@st.composite
def changed(draw: Any, content: Any) -> Any:
    """`content` with some keys left out or renamed, and some values replaced."""
    content = _copy(content)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(content))
        parent, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "replace", "delete", "add", "swap"])):
            case "replace":
                parent[key] = draw(values())
            case "delete":
                del parent[key]
            case "add" if isinstance(parent, dict):
                parent[draw(st.text(max_size=8))] = draw(values())
            case _:
                other, name = draw(st.sampled_from(places))
                parent[key] = _copy(other.get(name) if isinstance(other, dict) else other[name])
        if not content:
            break
    return content


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _places(content: Any) -> Any:
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(items):
        yield content, key
        if isinstance(value, (dict, list)) and value:
            yield from _places(value)


@st.composite
def mutations(draw: Any) -> Callable[[bytes], bytes]:
    """A function that damages bytes: flipped, overwritten, cut, doubled, left out, put in."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["flip", "byte", "number", "cut", "double", "leave", "insert"]),
                st.integers(0, 2**20) | st.integers(0, 400) | st.integers(-400, -1),
                st.integers(0, 255),
                st.sampled_from(INTEGERS),
                st.sampled_from([2, 4, 8]),
                st.sampled_from(["little", "big"]),
            ),
            min_size=1,
            max_size=4,
        )
    )
    return lambda content: _mutate(content, steps)


def _mutate(content: bytes, steps: list[tuple[Any, ...]]) -> bytes:
    data = bytearray(content)
    for kind, position, byte, number, width, order in steps:
        if not data:
            break
        at = position % len(data)
        match kind:
            case "flip":
                data[at] ^= 1 << byte % 8
            case "byte":
                data[at] = byte
            case "number":
                data[at : at + width] = (number % 256**width).to_bytes(width, order)
            case "cut":
                del data[at:]
            case "double":
                data[at:at] = data[at : at + byte]
            case "leave":
                del data[at : at + byte]
            case "insert":
                data[at:at] = bytes([byte]) * width
    return bytes(data)
