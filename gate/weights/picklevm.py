"""Reads a pickle without executing it.

`pickle.Unpickler` with a `find_class` of one's own still calls what it finds, honours `__setstate__`, and can be made
to ask for gigabytes by one flipped bit in a memo index. Here a pickle is a text: its opcodes are walked by
`pickletools.genops`, containers and scalars become themselves, and everything that would have been an import, a call
or an object becomes a note of what was asked for. Nothing is imported and nothing is called.
"""

import os
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, BinaryIO, cast


class PickleError(ValueError):
    """The bytes are no pickle that this reader accepts."""


@dataclass(frozen=True, slots=True)
class Name:
    """An importable name the pickle mentioned; never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class StandIn:
    """An object the pickle would have built: what it was to be called with, and the state it was to receive."""

    made_by: object
    """Usually a `Name`."""

    args: tuple[Any, ...] = ()

    state: object = None


@dataclass(slots=True, eq=False)
class Bag:
    """A set; its members need not be hashable, because hashing deeply nested tuples overflows the C stack."""

    members: list[object] = field(default_factory=list)


class _Mark:
    """Where an opcode that takes many values starts to take them."""


_MARK = _Mark()

# Dictionary keys of other types (tuples of hostile depth, stand-ins) cannot lead to a named tensor: left out.
_KEY_TYPES = (str, int, float, bool, bytes, type(None))

_LITERALS = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], object]] = {
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": Bag,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

Call = Callable[[object, tuple[Any, ...]], object]
"""What stands for `made_by(*args)`."""

Persistent = Callable[[object], object]
"""What stands for the object behind a persistent id."""


class _Reader:
    def __init__(self, call: Call, persistent: Persistent) -> None:
        self._call = call
        self._persistent = persistent
        self._stack: list[Any] = []
        # A dict, not a list: a flipped bit in a memo index must not become an allocation.
        self._memo: dict[int, Any] = {}

    def read(self, opcodes: Iterator[tuple[str, Any]]) -> object:
        for name, argument in opcodes:
            if name == "STOP":
                return self._stack.pop()
            self._step(name, argument)
        raise PickleError("it ends without a STOP")

    def _step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self._stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            self._stack[-count:] = [tuple(self._take(count))]
        else:
            handler: Callable[[Any], None] | None = getattr(self, f"_on_{name.lower()}", None)
            if handler is None:
                raise PickleError(f"opcode {name} is not accepted")
            handler(argument)

    def _take(self, count: int) -> list[Any]:
        values = self._stack[-count:]
        if len(values) < count or _MARK in values:
            raise PickleError("its stack runs empty")
        return values

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise PickleError("a mark stands where a value belongs")
        return value

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        values.reverse()
        return values

    def _top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise PickleError(f"a {kind.__name__} was expected, not a {type(self._stack[-1]).__name__}")
        return self._stack[-1]

    def _on_proto(self, _: Any) -> None:
        pass

    def _on_frame(self, _: Any) -> None:
        pass

    def _on_mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def _on_pop(self, _: Any) -> None:
        self._stack.pop()

    def _on_pop_mark(self, _: Any) -> None:
        self._pop_to_mark()

    def _on_dup(self, _: Any) -> None:
        self._stack.append(self._take(1)[0])

    def _on_put(self, index: int) -> None:
        self._memo[index] = self._take(1)[0]

    _on_binput = _on_put
    _on_long_binput = _on_put

    def _on_memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._take(1)[0]

    def _on_get(self, index: int) -> None:
        if index not in self._memo:
            raise PickleError(f"memo {index} was never written")
        self._stack.append(self._memo[index])

    _on_binget = _on_get
    _on_long_binget = _on_get

    def _on_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _on_list(self, _: Any) -> None:
        self._stack.append(self._pop_to_mark())

    def _on_append(self, _: Any) -> None:
        self._extend([self._pop()])

    def _on_appends(self, _: Any) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, values: list[Any]) -> None:
        # Objects with an append of their own (deques, ModuleLists) stay stand-ins; what they hold is not a tensor.
        if not isinstance(self._stack[-1], StandIn):
            self._top(list).extend(values)

    def _on_dict(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._stack.append({})
        self._set_items(values)

    def _on_setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _on_setitems(self, _: Any) -> None:
        self._set_items(self._pop_to_mark())

    def _set_items(self, values: list[Any]) -> None:
        if isinstance(self._stack[-1], StandIn):
            return
        target = self._top(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(key, _KEY_TYPES):
                target[key] = value

    def _on_additems(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._top(Bag).members.extend(values)

    def _on_frozenset(self, _: Any) -> None:
        self._stack.append(Bag(self._pop_to_mark()))

    def _on_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(Name(module, name))

    def _on_stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a name to import is not text")
        self._stack.append(Name(module, name))

    def _on_reduce(self, _: Any) -> None:
        args, made_by = self._pop(), self._pop()
        if not isinstance(args, tuple):
            raise PickleError("the arguments of a call are not a tuple")
        self._stack.append(self._call(made_by, args))

    def _on_newobj(self, _: Any) -> None:
        args, made_by = self._pop(), self._pop()
        self._stack.append(StandIn(made_by, args if isinstance(args, tuple) else ()))

    def _on_newobj_ex(self, _: Any) -> None:
        self._pop()
        self._on_newobj(None)

    def _on_inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(StandIn(Name(module, name), tuple(self._pop_to_mark())))

    def _on_obj(self, _: Any) -> None:
        made_by, *args = self._pop_to_mark()
        self._stack.append(StandIn(made_by, tuple(args)))

    def _on_build(self, _: Any) -> None:
        state = self._pop()
        if isinstance(self._stack[-1], StandIn):
            self._stack[-1].state = state

    def _on_persid(self, identity: str) -> None:
        self._stack.append(self._persistent(identity))

    def _on_binpersid(self, _: Any) -> None:
        self._stack.append(self._persistent(self._pop()))


class _Capped:
    """A file that is never asked for more than it has: read(n) allocates n bytes before it looks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        at = file.tell()
        self._size_bytes = file.seek(0, os.SEEK_END)
        file.seek(at)
        self.tell = file.tell
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        return self._file.read(min(count, self._size_bytes - self._file.tell()))


def read_pickle(file: BinaryIO, call: Call = StandIn, persistent: Persistent | None = None) -> object:
    """What one pickle, starting where `file` stands, describes; `file` then stands behind its STOP.

    Args:
        file: seekable binary file.
        call: answers REDUCE; must not call what it is given. The default notes the request in a `StandIn`.
        persistent: answers persistent ids; None refuses them.

    Raises:
        PickleError: the bytes are damaged or use what is not accepted.
    """

    def refuse(identity: object) -> object:
        raise PickleError(f"it refers to an object outside itself ({type(identity).__name__})")

    opcodes = ((code.name, argument) for code, argument, _ in pickletools.genops(cast("IO[bytes]", _Capped(file))))
    try:
        return _Reader(call, persistent or refuse).read(opcodes)
    except PickleError:
        raise
    except (ValueError, IndexError, TypeError, OverflowError, RecursionError) as error:
        raise PickleError(f"it is damaged: {error}") from error
