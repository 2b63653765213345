"""Random expression graphs: a program for an autograd engine, drawn so that no number in it leaves the domain.

A program is a list of ``[operation, operands, constant]``: operands are indices of earlier nodes, of which the leaves
come first; the constant, a plain number, is c in the operation's name, and null where it has none.
"""

import math
import random
from collections.abc import Callable
from typing import Any

LARGEST, SMALLEST = 20.0, 0.05  # of a node, and of what is divided by, or is under a root or a logarithm
POWERS = (-1.0, 0.5, -0.5, 2.0, 3.0)

BINARY: dict[str, Callable[[float, float], float]] = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "a * b": lambda a, b: a * b,
    "a / b": lambda a, b: a / b if abs(b) > SMALLEST else math.nan,
}
WITH_NUMBER: dict[str, Callable[[float, float], float]] = {
    "a + c": lambda a, c: a + c,
    "c + a": lambda a, c: c + a,
    "a - c": lambda a, c: a - c,
    "c - a": lambda a, c: c - a,
    "a * c": lambda a, c: a * c,
    "c * a": lambda a, c: c * a,
    "a / c": lambda a, c: a / c,
    "c / a": lambda a, c: c / a if abs(a) > SMALLEST else math.nan,
}
UNARY: dict[str, Callable[[float], float]] = {
    "-a": lambda a: -a,
    "log a": lambda a: math.log(a) if a > SMALLEST else math.nan,
    "exp a": lambda a: math.exp(a) if a < LARGEST else math.nan,
    "relu a": lambda a: max(0.0, a),
}


def _power(a: float, c: float) -> float:
    return a**c if c in (2.0, 3.0) or a > SMALLEST else math.nan


def draw(stream: random.Random, operations: int) -> dict[str, Any]:
    """Leaves, a program of so many operations or a few more, and a cotangent for every node.

    Whatever the seed, every operation occurs, with every power; relu is taken of exactly zero, of a negative and of a
    positive number; and there are distinct nodes of equal value, such as an engine that tells nodes apart by their
    values would take for one.
    """
    size = stream.uniform(0.5, 2.0)
    leaves = [size, size, 0.0, -stream.uniform(0.5, 2.0), *(stream.gauss(0, 1) for _ in range(2))]
    program: list[list[Any]] = [["exp a", [0], None], ["exp a", [1], None]]
    program += [["relu a", [i], None] for i in (0, 2, 3)]
    program += [["a ** c", [0], power] for power in POWERS]
    values = [*leaves, math.exp(size), math.exp(size), size, 0.0, 0.0, *(size**power for power in POWERS)]
    wanted = [*BINARY, *WITH_NUMBER, *UNARY]
    while len(program) < operations or wanted:
        operation = wanted[-1] if wanted else stream.choice([*BINARY, *WITH_NUMBER, *UNARY, "a ** c"])
        node = _node(stream, operation, values)
        if abs(node[1]) <= LARGEST:  # which not-a-number is not
            program.append(node[0])
            values.append(node[1])
            wanted = [name for name in wanted if name != operation]
    return {"leaves": leaves, "program": program, "cotangent": [stream.gauss(0, 1) for _ in values]}


def _node(stream: random.Random, operation: str, values: list[float]) -> tuple[list[Any], float]:
    """One operation on nodes that are there, and its value; not-a-number outside the domain."""
    a, b = stream.randrange(len(values)), stream.randrange(len(values))
    if operation in BINARY:
        return [operation, [a, b], None], BINARY[operation](values[a], values[b])
    if operation in UNARY:
        return [operation, [a], None], UNARY[operation](values[a])
    if operation == "a ** c":
        power = stream.choice(POWERS)
        return [operation, [a], power], _power(values[a], power)
    number = stream.choice((-1, 1)) * stream.uniform(0.5, 2.0)
    return [operation, [a], number], WITH_NUMBER[operation](values[a], number)
