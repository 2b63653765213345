"""The optimizer of a recipe, in float64: PyTorch's own where it has one, written out where a recipe departs from it.

n is the number of parameters, taken as one flat vector, and k the number of steps. In step i, counted from 0, Adam's
own t is ``first_step + i + 1``.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from reference.recipe import Recipe

# The fields that torch.optim.Adam and AdamW have no argument for, each at the only value that they know.
TORCH_ADAM = {
    "eps_adam_place": "beside root",
    "bias_correction": "both",
    "second_moment": "square",
    "second_moment_root": True,
}


def learning_rate_at(recipe: Recipe, step: int) -> float:
    """The rate of step s = 0, 1, ..., num_steps - 1, one float.

    lr (1 - s/num_steps) where the schedule is linear, lr/2 (1 + cos(pi s/num_steps)) where it is cosine (Loshchilov &
    Hutter 2016, arXiv:1608.03983, eq. 5, with a least rate of zero), lr where it is constant. Raises ValueError for a
    step outside the schedule.
    """
    if not 0 <= step < recipe.num_steps:
        raise ValueError(f"step {step} is not in the schedule's 0 .. {recipe.num_steps - 1}")
    if recipe.schedule == "linear":
        return recipe.learning_rate * (1 - step / recipe.num_steps)
    if recipe.schedule == "cosine":
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / recipe.num_steps))
    return recipe.learning_rate


def trajectory(
    recipe: Recipe,
    parameters: Tensor,
    gradients: Tensor,
    learning_rates: Sequence[float],
    m: Tensor | None = None,
    v: Tensor | None = None,
    first_step: int = 0,
) -> dict[str, Tensor]:
    """Parameters and both moments after each of k steps from given gradients: "parameters", "m", "v", each [k, n].

    parameters [n], gradients [k, n], k learning rates; m and v [n] are the moments before the first step, zeros where
    left out. float64. theta -= lr m^/(sqrt(v^) + eps) (Kingma & Ba, arXiv:1412.6980v9, Algorithm 1), computed by
    `torch.optim.Adam`, or `torch.optim.AdamW` where weights decay by themselves; by `written_out` for the rest.
    Raises ValueError for a shape or dtype that does not fit, or a negative first_step.
    """
    m, v = _checked(parameters, gradients, learning_rates, m, v, first_step)
    is_torch = all(getattr(recipe, field) == value for field, value in TORCH_ADAM.items())
    if is_torch and recipe.optimizer in ("adam", "amsgrad"):
        return _with_torch(recipe, parameters, gradients, learning_rates, m, v, first_step)
    return written_out(recipe, parameters, gradients, learning_rates, m, v, first_step)


def written_out(
    recipe: Recipe,
    parameters: Tensor,
    gradients: Tensor,
    learning_rates: Sequence[float],
    m: Tensor | None = None,
    v: Tensor | None = None,
    first_step: int = 0,
) -> dict[str, Tensor]:
    """`trajectory` (its shapes, dtype and errors) for every recipe, from the formulas alone.

    Beside Kingma & Ba, Algorithm 1: the reordered form at the end of their section 2 ("epsilon hat", TensorFlow's);
    AMSGrad (Reddi et al. 2018, Algorithm 2, with bias correction, as in `torch.optim.Adam`), whose maximum starts at
    the given v; NAdam as beta1 m^ + (1 - beta1) g/(1 - beta1^t) in place of m^ (Ruder 2016, arXiv:1609.04747; that of
    `torch.optim.NAdam` changes beta1 from step to step); AdaBelief's (g - m)^2 (Zhuang et al. 2020, without its eps);
    SGD, theta -= lr g, which leaves m and v alone.
    """
    m, v = _checked(parameters, gradients, learning_rates, m, v, first_step)
    theta, largest_v = parameters.detach(), v
    rows: dict[str, list[Tensor]] = {"parameters": [], "m": [], "v": []}
    for i, (gradient, rate) in enumerate(zip(gradients, learning_rates, strict=True)):
        g = gradient
        if recipe.weight_decay_kind == "l2":
            g = g + recipe.weight_decay * theta
        else:
            theta = theta * (1 - rate * recipe.weight_decay)
        if recipe.optimizer == "sgd":
            theta = theta - rate * g
        else:
            m = recipe.beta1 * m + (1 - recipe.beta1) * g
            v = recipe.beta2 * v + (1 - recipe.beta2) * _deviation(recipe, g, m)
            largest_v = torch.maximum(largest_v, v)
            second = largest_v if recipe.optimizer == "amsgrad" else v
            theta = theta - rate * _direction(recipe, g, m, second, first_step + i + 1)
        for name, row in (("parameters", theta), ("m", m), ("v", v)):
            rows[name].append(row)
    return {name: torch.stack(row) if row else gradients.new_empty(gradients.shape) for name, row in rows.items()}


def _deviation(recipe: Recipe, g: Tensor, m: Tensor) -> Tensor:
    """What the second moment is the running mean of: [n] to [n]."""
    if recipe.second_moment == "absolute":
        return g.abs()
    return (g - m) ** 2 if recipe.second_moment == "centred" else g**2


def _corrections(recipe: Recipe, t: int) -> tuple[float, float]:
    """The divisors of m and of v at Adam's step t."""
    t = {"frozen": 1, "late": t + 1}.get(recipe.bias_correction, t)
    first, second = 1 - recipe.beta1**t, 1 - recipe.beta2**t
    partial = {"none": (1.0, 1.0), "first": (first, 1.0), "second": (1.0, second), "swapped": (second, first)}
    return partial.get(recipe.bias_correction, (first, second))


def _direction(recipe: Recipe, g: Tensor, m: Tensor, v: Tensor, t: int) -> Tensor:
    """The update per unit of learning rate: [n] each, [n]."""
    correction1, correction2 = _corrections(recipe, t)
    m_hat, v_hat = m / correction1, v / correction2
    if recipe.optimizer == "nadam":
        m_hat = recipe.beta1 * m_hat + (1 - recipe.beta1) * g / correction1
    if recipe.eps_adam_place == "under root":
        v_hat = v_hat + recipe.eps_adam
        return m_hat / (v_hat.sqrt() if recipe.second_moment_root else v_hat)
    if recipe.eps_adam_place == "epsilon hat":  # the correction is moved out of the denominator, and eps stays
        scale = correction2**0.5 if recipe.second_moment_root else correction2
        return m_hat * scale / ((v.sqrt() if recipe.second_moment_root else v) + recipe.eps_adam)
    return m_hat / ((v_hat.sqrt() if recipe.second_moment_root else v_hat) + recipe.eps_adam)


def _with_torch(
    recipe: Recipe,
    parameters: Tensor,
    gradients: Tensor,
    learning_rates: Sequence[float],
    m: Tensor,
    v: Tensor,
    first_step: int,
) -> dict[str, Tensor]:
    """`trajectory` by PyTorch's optimizer, its state set to the given start."""
    theta = parameters.detach().clone().requires_grad_()
    kind = torch.optim.AdamW if recipe.weight_decay_kind == "decoupled" and recipe.weight_decay else torch.optim.Adam
    optimizer = kind(
        [theta],
        lr=0.0,  # each step sets its own
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.eps_adam,
        weight_decay=recipe.weight_decay,
        amsgrad=recipe.optimizer == "amsgrad",
        foreach=False,
    )
    state = {
        "step": torch.tensor(float(first_step), dtype=torch.float64),
        "exp_avg": m.clone(),
        "exp_avg_sq": v.clone(),
    }
    if recipe.optimizer == "amsgrad":
        state["max_exp_avg_sq"] = v.clone()
    optimizer.state[theta] = state
    rows = {name: gradients.new_empty(gradients.shape) for name in ("parameters", "m", "v")}
    for i, rate in enumerate(learning_rates):
        optimizer.param_groups[0]["lr"] = rate
        theta.grad = gradients[i].clone()
        optimizer.step()
        rows["parameters"][i] = theta.detach()
        rows["m"][i], rows["v"][i] = state["exp_avg"], state["exp_avg_sq"]
    return rows


def _checked(
    parameters: Tensor,
    gradients: Tensor,
    learning_rates: Sequence[float],
    m: Tensor | None,
    v: Tensor | None,
    first_step: int,
) -> tuple[Tensor, Tensor]:
    """Both moments, zeros where they were left out; ValueError for what does not fit."""
    m = torch.zeros_like(parameters) if m is None else m
    v = torch.zeros_like(parameters) if v is None else v
    if parameters.ndim != 1:
        raise ValueError(f"parameters have shape {tuple(parameters.shape)}. Give one flat vector [n]")
    expected = {"gradients": (gradients, (len(learning_rates), *parameters.shape))}
    expected |= {"m": (m, tuple(parameters.shape)), "v": (v, tuple(parameters.shape))}
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} have shape {tuple(tensor.shape)}. With these parameters and rates: {shape}")
    for name, tensor in (("parameters", parameters), ("gradients", gradients), ("m", m), ("v", v)):
        if tensor.dtype != torch.float64:
            raise ValueError(f"{name} are {tensor.dtype}. Give torch.float64")
    if first_step < 0:
        raise ValueError(f"first_step is {first_step}. It takes 0 or more")
    return m.detach(), v.detach()
