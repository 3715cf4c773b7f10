"""`jit`: compile with numba once, keep the machine code on disk, and load it in later processes without numba.

A process that only loads what is kept starts 0.6 s faster: importing numba, registering all that it knows and unpacking
its own cache take that long, LLVM's loader takes milliseconds. What is kept is an object file for each function and
kinds of arguments. It is found by a hash of the function's byte code and constants, those of the compiled functions
that it calls, the versions of numba and LLVM and the processor, so that nothing stale is ever run.

It lies beside the source file or, where that folder cannot be written, under the user's cache folder; where there is
none (a container with a read-only file system and no home) in a private folder under the system's temporary folder, and
as a last resort nothing is kept. The environment variable ``NUMBA_CACHE_DIR`` always wins. A function that needs
numba's runtime (it makes arrays, or takes or gives back more than arrays, numbers and tuples of them) is run and cached
by numba itself.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, update_wrapper
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.files import move
from hepacast.core.names import user_folder

#: What compiled code may call besides LLVM's own: functions of the C library, which every process has.
_C_LIBRARY = {"cos", "exp", "exp2", "floor", "ceil", "log", "log1p", "log2", "pow", "sin", "sqrt", "hypot", "memset"}
_DECLARED = re.compile(r'^declare [^@]*@"?([^"(]+)"?\(', re.MULTILINE)
_RELEASE = re.compile(r"^declare void @NRT_MemInfo_call_dtor\(([^)]*)\).*$", re.MULTILINE)
_NUMBERS: dict[str, Any] = {"int64": ctypes.c_int64, "float64": ctypes.c_double, "bool": ctypes.c_bool}
#: Part of the name under which code is kept; another number where this module keeps or calls it otherwise.
_FORMAT = 1
_LOCK = threading.RLock()
#: LLVM's engines own the code that they have loaded.
_ENGINES: list[Any] = []

_Call = Callable[..., Any]


def jit(function: Callable[..., Any] | None = None, *, reassociate: bool = False) -> Any:
    """Compile `function` on first use: no Python objects, no GIL, no threads, kept on disk.

    Parameters
    ----------
    function
        The function to compile.
    reassociate
        Let the compiler sum floating-point numbers in another order (vector registers). Only for long sums of
        doubles, where it is also the more accurate order; infinities and NaN keep their meaning.
    """
    if function is None:
        return lambda target: jit(target, reassociate=reassociate)
    return Kernel(function, reassociate)


class Kernel:
    """A compiled function; called as the function itself, and by other compiled functions."""

    def __init__(self, function: Any, reassociate: bool) -> None:
        update_wrapper(self, function)
        self._function = function
        self._options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc"} if reassociate else False}
        self._calls: dict[Any, _Call] = {}
        self._numba: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """Run it; the kinds of arguments choose the compiled code."""
        key = tuple([_key(value) for value in arguments])
        call = self._calls.get(key)
        if call is None:
            with _LOCK:
                call = self._calls.get(key)
                if call is None:
                    kinds = tuple([_kind(value) for value in arguments])
                    call = self._calls[key] = self._calls[kinds] = self._calls.get(kinds) or self._prepare(
                        kinds, arguments
                    )
        return call(*arguments)

    def for_numba(self) -> Any:
        """The function as numba knows it, for the compiled functions that call it."""
        if self._numba is None:
            self._numba = _compiler()(**self._options)(self._python())
        return self._numba

    def digest(self) -> str:
        """Hash of all that the machine code depends on but processor and kinds of arguments."""
        code = self._function.__code__
        parts: list[Any] = [code.co_code.hex(), code.co_consts, code.co_varnames, str(self._options)]
        parts += [item.cell_contents for item in self._function.__closure__ or ()]
        for name in code.co_names:
            value = self._function.__globals__.get(name)
            if isinstance(value, Kernel):
                parts.append((name, value.digest()))
            elif hasattr(value, "for_numba"):
                parts.append((name, type(value).for_numba.__code__.co_code.hex()))
            elif isinstance(value, np.ndarray):
                parts.append((name, value.dtype.str, value.shape, value.tobytes().hex()))
            else:
                parts.append((name, value if isinstance(value, bool | int | float | str | tuple) else None))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _python(self) -> FunctionType:
        """The function with numba's form of what it calls in the place of ours."""
        own = self._function
        names = {**own.__globals__}
        for name in own.__code__.co_names:
            if hasattr(names.get(name), "for_numba"):
                names[name] = names[name].for_numba()
        return FunctionType(own.__code__, names, own.__name__, own.__defaults__, own.__closure__)

    def _prepare(self, kinds: Any, arguments: tuple[Any, ...]) -> _Call:
        if "NUMBA_DISABLE_JIT" in os.environ or not _are_plain(kinds):
            return self._by_numba()
        own = self._function
        place = hashlib.sha256(f"{kinds} {_machine()}".encode()).hexdigest()[:16]
        kept = _ObjectFile(f"{own.__module__.rpartition('.')[2]}.{own.__name__}-{place}", self.digest()[:16])
        made = kept.read(own.__code__.co_filename)
        if made is None:
            with kept.alone(own.__code__.co_filename):
                made = kept.read(own.__code__.co_filename)  # another process may have made it just now
                if made is None:
                    made = self._compile(arguments)
                    kept.write(own.__code__.co_filename, made)
        return _loaded(made, arguments) if made.code else self._by_numba()

    def _by_numba(self) -> _Call:
        options = {**self._options, "cache": True}
        try:
            return _compiler()(**options)(self._python())  # type: ignore[no-any-return]
        except RuntimeError:  # numba: "cannot cache function: no locator available"
            return self.for_numba()  # type: ignore[no-any-return]

    def _compile(self, arguments: tuple[Any, ...]) -> _Code:
        """The machine code; none where it needs numba's runtime."""
        import numba
        from llvmlite import binding

        bare = _compiler()(**self._options, no_cpython_wrapper=True, no_cfunc_wrapper=True)(self._python())
        signature = tuple(numba.typeof(value) for value in arguments)
        bare.compile(signature)
        made = bare.overloads[signature]
        returned = _returned(made.signature.return_type)
        # Arrays belong to Python, which numba is told as "no owner": there is never one to release.
        text = _RELEASE.sub(
            r"define internal void @NRT_MemInfo_call_dtor(\1) { ret void }", bare.inspect_llvm(signature)
        )
        others = {name for name in _DECLARED.findall(text) if not name.startswith("llvm.")}
        if returned is None or others - _C_LIBRARY:
            return _Code("", "none", b"")
        code = _target_machine().emit_object(binding.parse_assembly(text))
        return _Code(made.fndesc.llvm_func_name, returned, bytes(code))


@dataclass(frozen=True)
class _Code:
    """Machine code of one function: its symbol, the number types that it returns, and the object file."""

    symbol: str
    returned: str | list[str]
    code: bytes


def _compiler() -> Any:
    import numba

    return numba.njit


def _key(value: Any) -> Any:
    """Like `_kind`, but quick to make: a few keys may stand for one kind."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.ndim, value.flags.num
    return tuple([_key(item) for item in value]) if isinstance(value, tuple) else type(value)


def _kind(value: Any) -> Any:
    """What tells compiled codes apart: of an array number type, dimensions, layout and whether it can be written."""
    if isinstance(value, np.ndarray):
        flags = value.flags
        layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
        return value.dtype.str, value.ndim, layout, flags.writeable
    if isinstance(value, tuple):
        return ("tuple", *[_kind(item) for item in value])
    kind = type(value)
    if kind is int or kind is np.int64:
        return "i"
    return "f" if kind is float or kind is np.float64 else kind


def _are_plain(kinds: Any) -> bool:
    return all(isinstance(item, str | int) or (isinstance(item, tuple) and _are_plain(item)) for item in kinds)


def _returned(kind: Any) -> Any:
    """The name of a number type, "none", or a list of names; None where it is something else."""
    name = str(kind)
    if name in ("none", *_NUMBERS):
        return name
    parts = [str(item) for item in kind] if name.startswith(("UniTuple", "Tuple")) else []
    return parts if parts and all(part in _NUMBERS for part in parts) else None


def _loaded(made: _Code, arguments: tuple[Any, ...]) -> _Call:
    """The machine code as a Python function of arguments of these kinds.

    It is called by numba's convention through ctypes, which lets other threads run.
    """
    from llvmlite import binding

    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _target_machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(made.code))
    engine.finalize_object()
    _ENGINES.append(engine)
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *_types(arguments))
    function = kind(engine.get_function_address(made.symbol))
    returned, symbol = made.returned, made.symbol
    names = [returned] if isinstance(returned, str) else returned
    fields = [(f"r{place}", _NUMBERS.get(name, ctypes.c_void_p)) for place, name in enumerate(names)]
    result_type: Any = type("Result", (ctypes.Structure,), {"_fields_": fields})

    def call(*arguments: Any) -> Any:
        result, error = result_type(), ctypes.c_void_p()
        if function(ctypes.byref(result), ctypes.byref(error), *_flattened(arguments)):
            raise RuntimeError(f"compiled code ended with an error: {symbol}")
        if returned == "none":
            return None
        values = tuple(getattr(result, name) for name, _ in fields)
        return values if isinstance(returned, list) else values[0]

    return call


def _flattened(values: tuple[Any, ...]) -> list[Any]:
    """Arguments as numba's code takes them: an array is owner, parent, size, item size, place, shape, strides."""
    flat: list[Any] = []
    for value in values:
        if isinstance(value, np.ndarray):
            flat += (None, None, value.size, value.itemsize, _place(value), *value.shape, *value.strides)
        elif isinstance(value, tuple):
            flat += _flattened(value)
        else:
            flat.append(value if isinstance(value, float) else int(value))
    return flat


def _types(values: tuple[Any, ...]) -> list[Any]:
    """The type of each of `_flattened`."""
    types: list[Any] = []
    for value in values:
        if isinstance(value, np.ndarray):
            pointers, number = [ctypes.c_void_p] * 2, ctypes.c_int64
            types += [*pointers, number, number, ctypes.c_void_p, *[number] * (2 * value.ndim)]
        elif isinstance(value, tuple):
            types += _types(value)
        else:
            types.append(ctypes.c_double if isinstance(value, float) else ctypes.c_int64)
    return types


def _asked_place(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _read_place(array: npt.NDArray[Any]) -> int | None:
    """Where an array's numbers begin: in NumPy's C structure the first entry after Python's own."""
    return _pointer_at(id(array) + object.__basicsize__).value


_pointer_at = ctypes.c_void_p.from_address


def _place_reader() -> Callable[[npt.NDArray[Any]], int | None]:
    """`_read_place`, which takes a tenth of the time, where it finds what NumPy says."""
    if sys.implementation.name != "cpython":
        return _asked_place
    whole = np.arange(6.0).reshape(2, 3)
    samples = (whole, whole[1:], whole.T, np.zeros(1, dtype=np.uint8))
    return _read_place if all(_read_place(item) == _asked_place(item) for item in samples) else _asked_place


_place = _place_reader()


@cache
def _target_machine() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(cpu=binding.get_host_cpu_name(), features=features, opt=3, jit=True)


@cache
def _machine() -> str:
    """Versions of the compilers, and the processor."""
    import llvmlite
    from llvmlite import binding

    numba = find_spec("numba")
    version = ""
    if numba is not None and numba.origin is not None:
        version = Path(numba.origin).with_name("_version.py").read_text(encoding="utf-8")
    processor = f"{binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"
    return f"{_FORMAT} {sys.platform} {processor} {llvmlite.__version__} {version} {np.dtype(np.intp).str}"


def _folders(source: str) -> Iterator[Path]:
    """Where machine code of a source file is kept, the best place first."""
    own = os.environ.get("NUMBA_CACHE_DIR")
    if own:
        yield Path(own)
        return
    yield Path(source).parent / "__pycache__"
    with suppress(RuntimeError):  # a user without a home
        home = user_folder("cache")
        if home.is_absolute():
            yield home
    private = _private_folder()
    if private is not None:
        yield private


def _private_folder() -> Path | None:
    """A folder that only this user can write (kept code is executed, so nobody else may plant any)."""
    user = os.getuid() if hasattr(os, "getuid") else os.getpid()
    folder = Path(tempfile.gettempdir()) / f"hepacast-numba-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    owned = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
    return folder if owned and not folder.is_symlink() and os.access(folder, os.W_OK) else None


@dataclass(frozen=True)
class _ObjectFile:
    """The file of one function, kinds of arguments and machine (`place`), made from what `digest` stands for."""

    place: str
    digest: str

    def read(self, source: str) -> _Code | None:
        """What `write` wrote; None where nothing is kept, or something else than was written."""
        for folder in _folders(source):
            try:
                head, _, code = (folder / f"{self.place}.{self.digest}.o").read_bytes().partition(b"\n")
                told = json.loads(head)
                if hashlib.sha256(code).hexdigest() == told["sha256"]:
                    return _Code(told["symbol"], told["returned"], code)
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return None

    @contextmanager
    def alone(self, source: str) -> Iterator[None]:
        """Of the processes that want the same function at once one compiles, and the others wait for what it keeps.

        Where nothing can be locked, or after a minute, each compiles for itself.
        """
        from filelock import FileLock, Timeout

        for folder in _folders(source):
            lock = FileLock(folder / f".{self.place}.lock", timeout=60)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock.acquire()
            except (Timeout, NotImplementedError):
                break
            except OSError:
                continue
            try:
                yield
            finally:
                with suppress(OSError):  # Windows keeps a file that is open
                    Path(lock.lock_file).unlink()
                lock.release()
            return
        yield

    def write(self, source: str, made: _Code) -> None:
        """Keep it in the first folder that can be written, in the place of what an older source gave."""
        told = {"symbol": made.symbol, "returned": made.returned, "sha256": hashlib.sha256(made.code).hexdigest()}
        for folder in _folders(source):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=folder, prefix=self.place, delete=False) as file:
                    file.write(json.dumps(told).encode() + b"\n" + made.code)
                for older in folder.glob(f"{self.place}.*.o"):
                    older.unlink(missing_ok=True)
                move(file.name, folder / f"{self.place}.{self.digest}.o")
                return
            except OSError:
                continue
