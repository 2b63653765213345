"""A number that writes down what is done to it; it runs in the subject's process, on the standard library alone.

Each operation is one row of the tape: ``[operation, operand, operand]``, where an operand is a row's index. A
comparison gives the answer of the floats and writes a guard: what follows holds for inputs that answer it in the same
way. A number that is turned into a plain float, int or index has escaped: from there on the tape knows nothing of it,
and says so.
"""

import math
from types import ModuleType
from typing import Any

Row = list[Any]


class Tape:
    """The rows, the guards and the escapes of one run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.guards: list[Row] = []
        self.escapes: list[str] = []
        self._constants: dict[tuple[str, str], int] = {}

    def input(self, name: str, value: float) -> "Traced":
        """A number from outside, by name."""
        return self.write(["input", name, value], value)

    def write(self, row: Row, value: float) -> "Traced":
        """Append one row; the number that it stands for."""
        self.rows.append(row)
        return Traced(self, len(self.rows) - 1, value)

    def index(self, number: Any) -> int:
        """The row of a number; a plain one becomes a constant row. TypeError for anything else."""
        if isinstance(number, Traced):
            return number.row
        if not isinstance(number, (int, float)):
            raise TypeError(f"a trace holds numbers, not {type(number).__name__}")
        key = (type(number).__name__, repr(number))  # 1 and 1.0 and True differ, and so do 0.0 and -0.0
        if key not in self._constants:
            self.rows.append(["constant", float(number)])
            self._constants[key] = len(self.rows) - 1
        return self._constants[key]


def _power(a: float, b: float) -> float:
    result = a**b
    # Python makes a complex number of a root of a negative one, which no float64 model can mean.
    return math.nan if isinstance(result, complex) else result


def _binary(symbol: str, compute: Any, *, swapped: bool = False) -> Any:
    def method(self: "Traced", other: Any) -> Any:
        if not isinstance(other, (Traced, int, float)):
            return NotImplemented
        left, right = (other, self) if swapped else (self, other)
        tape = self.tape
        row = [symbol, tape.index(left), tape.index(right)]
        return tape.write(row, compute(plain(left), plain(right)))

    return method


def _comparison(symbol: str, compute: Any) -> Any:
    def method(self: "Traced", other: Any) -> Any:
        if not isinstance(other, (Traced, int, float)):
            return NotImplemented
        answer = compute(self.value, plain(other))
        self.tape.guards.append([symbol, self.row, self.tape.index(other), answer])
        return answer

    return method


def _escape(convert: Any, what: str) -> Any:
    def method(self: "Traced", *more: Any) -> Any:
        self.tape.escapes.append(f"a number was turned into a plain {what}")
        return convert(self.value, *more)

    return method


class Traced:
    """A float with its row on a tape."""

    __slots__ = ("row", "tape", "value")

    def __init__(self, tape: Tape, row: int, value: float) -> None:
        self.tape, self.row, self.value = tape, row, value

    __add__ = _binary("+", lambda a, b: a + b)
    __radd__ = _binary("+", lambda a, b: a + b, swapped=True)
    __sub__ = _binary("-", lambda a, b: a - b)
    __rsub__ = _binary("-", lambda a, b: a - b, swapped=True)
    __mul__ = _binary("*", lambda a, b: a * b)
    __rmul__ = _binary("*", lambda a, b: a * b, swapped=True)
    __truediv__ = _binary("/", lambda a, b: a / b)
    __rtruediv__ = _binary("/", lambda a, b: a / b, swapped=True)
    __pow__ = _binary("**", _power)
    __rpow__ = _binary("**", _power, swapped=True)

    __lt__ = _comparison("<", lambda a, b: a < b)
    __le__ = _comparison("<=", lambda a, b: a <= b)
    __gt__ = _comparison(">", lambda a, b: a > b)
    __ge__ = _comparison(">=", lambda a, b: a >= b)
    __eq__ = _comparison("==", lambda a, b: a == b)
    __ne__ = _comparison("!=", lambda a, b: a != b)
    __hash__ = None  # type: ignore[assignment]  # equal numbers would share a place in a set or a dictionary

    __float__ = _escape(float, "float")
    __int__ = _escape(int, "int")
    __index__ = _escape(int, "index")
    __trunc__ = _escape(math.trunc, "int")
    __round__ = _escape(round, "rounded number")
    __floordiv__ = _escape(lambda a, b: a // plain(b), "quotient")
    __rfloordiv__ = _escape(lambda a, b: plain(b) // a, "quotient")
    __mod__ = _escape(lambda a, b: a % plain(b), "remainder")
    __rmod__ = _escape(lambda a, b: plain(b) % a, "remainder")
    __divmod__ = _escape(lambda a, b: divmod(a, plain(b)), "quotient and remainder")
    __rdivmod__ = _escape(lambda a, b: divmod(plain(b), a), "quotient and remainder")

    def __neg__(self) -> "Traced":
        return self.tape.write(["neg", self.row], -self.value)

    def __pos__(self) -> "Traced":
        return self

    def __abs__(self) -> "Traced":
        if self < 0:
            return -self
        return self + 0.0 if math.copysign(1.0, self.value) < 0 else self  # -0.0

    def __copy__(self) -> "Traced":
        return self

    def __deepcopy__(self, _memory: Any) -> "Traced":
        return self  # a copy of the tape would know nothing of what is written on this one

    def __bool__(self) -> bool:
        return bool(self != 0)

    def __format__(self, specification: str) -> str:
        return format(self.value, specification)

    def __repr__(self) -> str:
        return repr(self.value)


def plain(number: Any) -> Any:
    """The float of a traced number; anything else as it is. It is the harness that looks, so nothing escapes."""
    return number.value if isinstance(number, Traced) else number


def traced_math(tape: Tape) -> ModuleType:
    """A stand-in for the module `math`: its functions write rows where they are given a traced number."""
    module = ModuleType("math")
    vars(module).update(vars(math))

    def unary(name: str) -> Any:
        original = getattr(math, name)

        def function(x: Any) -> Any:
            if isinstance(x, Traced):
                return tape.write([name, x.row], original(x.value))
            return original(x)

        return function

    for name in ("exp", "log", "sqrt", "tanh", "erf", "cos", "sin"):
        setattr(module, name, unary(name))

    logarithm = vars(module)["log"]

    def log(x: Any, *base: Any) -> Any:
        if not isinstance(x, Traced) and not any(isinstance(b, Traced) for b in base):
            return math.log(x, *base)
        return logarithm(x) / logarithm(base[0]) if base else logarithm(x)

    module.log = log  # type: ignore[attr-defined]

    def power(a: Any, b: Any) -> Any:
        return a**b if isinstance(a, Traced) or isinstance(b, Traced) else math.pow(a, b)

    module.pow = power  # type: ignore[attr-defined]
    module.fabs = abs  # type: ignore[attr-defined]
    return module


def bring_in(namespace: dict[str, Any], tape: Tape) -> None:
    """Replace `math`, and whatever was imported from it by name, in a module's namespace."""
    stand_in = traced_math(tape)
    originals = {id(value): name for name, value in vars(math).items() if callable(value)}
    for name, value in list(namespace.items()):
        if value is math:
            namespace[name] = stand_in
        elif id(value) in originals:
            namespace[name] = getattr(stand_in, originals[id(value)])
