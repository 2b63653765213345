"""A trace of the subject's own operations, read as dependencies, as symbols, in digits, or replayed.

A trace holds rows ``[operation, operand, operand]`` (operands are row numbers), guards (comparisons with their
answers), escapes (a number that left the trace) and, for each array, the rows of its elements. An input is a row
``["input", name, value]``, a constant ``["constant", value]``.

Constants are read as the number that the program means: a float with a short decimal form is that decimal, exactly,
so that 1e-5 is 1/100000; any other is the simplest fraction that rounds to it. Inputs that are not symbols keep their
exact binary value.
"""

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from harness.observables import OBSERVABLES
from harness.results import Observation

SHORT = 12  # significant digits up to which a decimal is taken as what was written

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}


def read(trace: dict[str, Any], observable: str, inputs: dict[str, Any], reading: str) -> Observation:
    """The observation that a trace amounts to in a reading; skipped where numbers escaped from the trace."""
    if trace["escapes"]:
        return Observation(skipped=f"the trace is not whole: {'; '.join(trace['escapes'])}")
    try:
        return _read(trace, observable, inputs, reading)
    except ArithmeticError as error:
        return Observation(error=f"{type(error).__name__} in {reading}: {error}", arithmetic=True)
    except Exception as error:
        return Observation(error=f"the trace cannot be read in {reading}: {type(error).__name__}: {error}")


def _read(trace: dict[str, Any], observable: str, inputs: dict[str, Any], reading: str) -> Observation:
    if reading == "dependencies":
        return Observation(arrays=dependencies(trace, inputs), guards=guards(trace))
    if reading == "symbols":
        arrays, conditions = symbols(trace, OBSERVABLES[observable].symbols)
        observation = Observation(arrays=arrays, conditions=conditions)
    else:
        observation = Observation(arrays=digits(trace))
    observation.guards = guards(trace)
    observation.notes = [f"{value!r} is read as {exact(value)}" for value in _odd_constants(trace)]
    return observation


# --- exact constants --------------------------------------------------------------------------------------------------


def exact(value: float) -> Fraction:
    """The number that a float constant stands for: its short decimal, or the simplest fraction that rounds to it."""
    decimal = Fraction(repr(value))
    if len(repr(value).replace(".", "").replace("-", "").split("e")[0].strip("0")) <= SHORT:
        return decimal
    return simplest_fraction(value)


def simplest_fraction(value: float) -> Fraction:
    """The fraction of smallest denominator that rounds to a finite float (Stern-Brocot, by continued fractions)."""
    target = Fraction(value)
    for bits in range(1, 55):
        candidate = target.limit_denominator(1 << bits)
        if float(candidate) == value:
            low, high = 1, 1 << bits
            while low < high:  # the smallest bound on the denominator that still rounds to it
                middle = (low + high) // 2
                if float(target.limit_denominator(middle)) == value:
                    high = middle
                else:
                    low = middle + 1
            return target.limit_denominator(low)
    return target


def _odd_constants(trace: dict[str, Any]) -> list[float]:
    """Constants whose reading is not the decimal that Python prints."""
    values = {float(row[1]) for row in trace["rows"] if row[0] == "constant"}
    return sorted(v for v in values if math.isfinite(v) and exact(v) != Fraction(repr(v)))


# --- evaluation -------------------------------------------------------------------------------------------------------


def evaluate(
    trace: dict[str, Any], number: Callable[[str, Any], Any], constant: Callable[[float], Any], num: Any
) -> list[Any]:
    """The value of every row, in any numbers that have operators, and exp, log, ... in the module `num`."""
    values: list[Any] = []
    for row in trace["rows"]:
        operation = row[0]
        if operation == "input":
            values.append(number(row[1], float(row[2])))
        elif operation == "constant":
            values.append(constant(float(row[1])))
        elif operation == "neg":
            values.append(-values[row[1]])
        elif operation in _BINARY:
            compute = _float_power if operation == "**" and num is math else _BINARY[operation]
            values.append(compute(values[row[1]], values[row[2]]))
        else:
            values.append(getattr(num, operation)(values[row[1]]))
    return values


def _float_power(a: float, b: float) -> float:
    """a**b, or not a number where Python makes a complex one."""
    result = a**b
    return math.nan if isinstance(result, complex) else result


def replay(trace: dict[str, Any]) -> dict[str, Any]:
    """The arrays again, from the rows, in float64: bit for bit those of a plain run."""
    values = evaluate(trace, lambda _name, value: value, lambda value: value, math)
    return _outputs(trace, values)


def digits(trace: dict[str, Any]) -> dict[str, Any]:
    """The arrays in 50 decimal digits, at the trace's own inputs."""
    from harness import proof  # noqa: PLC0415 - mpmath is needed by two readings only

    def constant(value: float) -> Any:
        return proof.rational(exact(value)) if math.isfinite(value) else proof.mp.mpf(value)

    return _outputs(trace, evaluate(trace, lambda _name, value: proof.mp.mpf(value), constant, proof.mp))


def symbols(trace: dict[str, Any], assumptions: Any) -> tuple[dict[str, Any], list[Any]]:
    """The arrays as SymPy expressions in the names of the inputs; and the guards, as relations that hold there."""
    import sympy  # noqa: PLC0415 - half a second, for one reading

    from harness import proof  # noqa: PLC0415

    def constant(value: float) -> Any:
        if not math.isfinite(value):
            return sympy.Float(value)
        fraction = exact(value)
        return sympy.Rational(fraction.numerator, fraction.denominator)

    values = evaluate(trace, lambda name, _v: proof.symbol(name, assumptions), constant, sympy)
    conditions = [
        relation if answer else sympy.Not(relation)
        for symbol, a, b, answer in trace["guards"]
        for relation in [sympy.Rel(values[a], values[b], symbol)]
    ]
    return _outputs(trace, values), conditions


def _outputs(trace: dict[str, Any], values: list[Any]) -> dict[str, Any]:
    def pick(nested: Any) -> Any:
        return [pick(item) for item in nested] if isinstance(nested, list) else values[nested]

    return {name: pick(rows) for name, rows in trace["outputs"].items()}


# --- dependencies -----------------------------------------------------------------------------------------------------


def dependencies(trace: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """1 where an output was computed from a group of inputs, else 0.

    For logits (T x V, taken position by position) the groups are the tokens' embeddings (T, the tokens are distinct)
    and the positions' (T); for a norm (C) every single input.
    """
    if "x" in inputs:
        prefixes = {"input": [f"x[{i}]" for i in range(len(inputs["x"]))]}
        outputs = [[row] for row in trace["outputs"]["y"]]
    else:
        places = range(len(inputs["tokens"]) - 1)
        prefixes = {
            "tokens": [f"wte[{inputs['tokens'][at]}][" for at in places],
            "positions": [f"wpe[{at}][" for at in places],
        }
        outputs = trace["outputs"]["logits"]
    bits = {prefix: 1 << i for i, prefix in enumerate(p for group in prefixes.values() for p in group)}
    found = _ancestors(trace["rows"], bits)
    return {
        name: [[float(any(found[row] & bits[prefix] for row in rows)) for prefix in group] for rows in outputs]
        for name, group in prefixes.items()
    }


def _ancestors(rows: list[list[Any]], bits: dict[str, int]) -> list[int]:
    """For each row the groups of inputs behind it, as bits; a group is the start of its inputs' names."""
    found: list[int] = []
    for row in rows:
        if row[0] == "input":
            found.append(sum(bit for start, bit in bits.items() if row[1].startswith(start)))
        elif row[0] == "constant":
            found.append(0)
        else:
            mask = 0
            for operand in row[1:]:
                mask |= found[operand]
            found.append(mask)
    return found


# --- guards -----------------------------------------------------------------------------------------------------------


def guards(trace: dict[str, Any], most: int = 6) -> list[str]:
    """The comparisons that the path depends on, in words; where there are more than `most`, how many of each kind."""
    rows = trace["rows"]

    def name(index: int, *, short: bool) -> str:
        row = rows[index]
        return str(row[1]) if row[0] == "constant" or (row[0] == "input" and not short) else "a computed number"

    every = [(name(a, short=False), sign, name(b, short=False), answer) for sign, a, b, answer in trace["guards"]]
    if len(every) <= most:
        return [f"{a} {sign} {b} is {str(answer).lower()}" for a, sign, b, answer in every]
    kinds: dict[str, list[bool]] = {}
    for sign, a, b, answer in trace["guards"]:
        kinds.setdefault(f"{name(a, short=True)} {sign} {name(b, short=True)}", []).append(answer)
    return [f"{kind}: {len(answers)} times, true {sum(answers)} times" for kind, answers in sorted(kinds.items())]
