"""Mistakes in a microgpt's autograd: in its derivatives, and in the order of the backward pass. Data alone."""

from reference.mistake import Mistake, Patch

_POWER = "return Value(self.data**power, (self,), (power * self.data ** (power - 1),))"
_RELU = "return Value(max(0.0, self.data), (self,), (float(self.data > 0),))"
_DIVIDE = "return self * other**-1"
_AS_VALUE = "other = other if isinstance(other, Value) else Value(other)\n        "
_ORDER = "for node in reversed(self._topological_order()):"
_STACK = """        order: list[Value] = []
        visited: set[Value] = set()
"""

AUTOGRAD_MISTAKES: dict[str, Mistake] = {
    "autograd-overwrites": Mistake(
        "autograd",
        "a gradient replaces what reached the node by another path, instead of being added",
        patch=Patch("child.grad += local_grad * node.grad", "child.grad = local_grad * node.grad"),
        seen="karpathy/nn-zero-to-hero#52",
    ),
    "autograd-breadth-first": Mistake(
        "autograd",
        "nodes are visited breadth-first, before all that depends on them",
        patch=Patch(
            _STACK,
            """        found = {self: None}
        for level in iter(lambda: list(found), None):
            found |= dict.fromkeys(child for node in level for child in node.children)
            if len(found) == len(level):
                return level[::-1]
"""
            + _STACK,
        ),
        seen="lucasdelimanogueira/PyNorch#90",
    ),
    "autograd-pre-order": Mistake(
        "autograd",
        "a node passes its gradient on when it is first reached, in depth-first pre-order",
        patch=Patch("stack.append((node, True))", "order.insert(0, node)"),
        seen="karpathy/micrograd#96",
    ),
    "autograd-not-reversed": Mistake(
        "autograd",
        "the topological order is not reversed: only the root's children receive anything",
        patch=Patch(_ORDER, "for node in self._topological_order():"),
    ),
    "autograd-visits-again": Mistake(
        "autograd",
        "a node is visited once for every path to it, and counts as often",
        patch=Patch("elif node not in visited:", "else:"),
        seen="karpathy/micrograd#2",
    ),
    "autograd-nodes-by-value": Mistake(
        "autograd",
        "nodes of equal value are taken for one another",
        patch=Patch(
            '    def __neg__(self) -> "Value":\n',
            """    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __neg__(self) -> "Value":
""",
        ),
        seen="joennlae/tensorli#2",
    ),
    "autograd-root-is-the-loss": Mistake(
        "autograd",
        "the root's gradient is its value, not 1",
        patch=Patch("        self.grad = 1.0\n", "        self.grad = self.data\n"),
    ),
    "product-derivatives-swapped": Mistake(
        "autograd",
        "each factor is given its own value as derivative, not the other's",
        patch=Patch("(self, other), (other.data, self.data))", "(self, other), (self.data, other.data))"),
    ),
    "power-derivative-n-x-to-the-n": Mistake(
        "autograd",
        "the derivative of x^n is n x^n",
        patch=Patch(_POWER, _POWER.replace("power * self.data ** (power - 1)", "power * self.data**power")),
    ),
    "power-derivative-without-n": Mistake(
        "autograd",
        "the derivative of x^n is x^(n-1)",
        patch=Patch(_POWER, _POWER.replace("power * self.data ** (power - 1)", "self.data ** (power - 1)")),
        seen="tinygrad/tinygrad#25",
    ),
    "difference-derivative-positive": Mistake(
        "autograd",
        "the derivative of a - b by b is +1",
        patch=Patch(
            "return self + -other",
            f"{_AS_VALUE}return Value(self.data - other.data, (self, other), (1.0, 1.0))",
        ),
        seen="KhawajaAbaid/micrograd_c#1",
    ),
    "log-derivative-is-log": Mistake(
        "autograd",
        "the derivative of log x is log x",
        patch=Patch("(1 / self.data,)", "(math.log(self.data),)"),
    ),
    "relu-derivative-at-zero": Mistake(
        "autograd",
        "relu's derivative at exactly 0 is 1",
        patch=Patch(_RELU, _RELU.replace("self.data > 0", "self.data >= 0")),
        seen="iamtrask/Grokking-Deep-Learning#13",
    ),
    "relu-derivative-is-relu": Mistake(
        "autograd",
        "relu's derivative is its own value",
        patch=Patch(_RELU, _RELU.replace("float(self.data > 0)", "max(0.0, self.data)")),
    ),
    "relu-derivative-inverted": Mistake(
        "autograd",
        "relu passes gradients on where it is zero, and stops them where it is not",
        patch=Patch(_RELU, _RELU.replace("self.data > 0", "self.data <= 0")),
    ),
    "quotient-derivative-without-square": Mistake(
        "autograd",
        "the derivative of a / b by b is -a / b",
        patch=Patch(
            _DIVIDE,
            f"{_AS_VALUE}slopes = (1 / other.data, -self.data / other.data)\n"
            "        return Value(self.data / other.data, (self, other), slopes)",
        ),
        seen="apache/singa#484",
    ),
    "quotient-derivative-positive": Mistake(
        "autograd",
        "the derivative of a / b by b is +a / b^2",
        patch=Patch(
            _DIVIDE,
            f"{_AS_VALUE}slopes = (1 / other.data, self.data / other.data**2)\n"
            "        return Value(self.data / other.data, (self, other), slopes)",
        ),
        seen="HIPS/autograd#412",
    ),
}
