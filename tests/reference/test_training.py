"""Training and sampling of the vectorised twin, and scalar programs under autograd: against steps taken by hand."""

import random

import pytest
import torch

from reference import adam, expressions, gpt, training
from reference.recipe import MICROGPT

torch.set_num_threads(1)  # the tensors are tiny: threads would only wait for each other
RECIPE = MICROGPT.edited({"vocab_size": 6, "n_embd": 4, "n_head": 2, "block_size": 5, "num_steps": 4})
DOCUMENTS = [torch.tensor([5, 0, 1, 5]), torch.tensor([5, 3, 5])]


def weights(recipe=RECIPE, std=0.5):
    generator = torch.Generator().manual_seed(1)
    shapes = recipe.parameter_shapes().items()
    return {name: std * torch.randn(*shape, generator=generator, dtype=torch.float64) for name, shape in shapes}


def test_steps_are_those_of_a_loop_with_pytorchs_optimizer():
    losses, tables = training.train(RECIPE, weights(), DOCUMENTS, 3)
    decoder = gpt.Decoder(RECIPE, weights())
    parameters = list(decoder.parameters.values())
    optimizer = torch.optim.Adam(parameters, betas=(0.85, 0.99), eps=1e-8)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 4)
        optimizer.zero_grad()
        loss = decoder.loss(DOCUMENTS[step % 2])
        loss.backward()
        optimizer.step()
        assert losses[step].item() == pytest.approx(loss.item(), rel=1e-13)
    for name, table in tables.items():
        torch.testing.assert_close(table, decoder.parameters[name].detach(), rtol=1e-12, atol=1e-14)


def test_training_leaves_what_it_is_given_alone_and_learns():
    given = weights()
    recipe = RECIPE.edited({"num_steps": 60})
    losses, _ = training.train(recipe, given, DOCUMENTS[:1], 60)
    assert all(torch.equal(table, weights()[name]) for name, table in given.items())
    assert losses[-1] < losses[0] / 4


@pytest.mark.parametrize("attention", ["mask", "cache", "sdpa"])
def test_every_way_of_attention_trains_alike(attention):
    losses, _ = training.train(RECIPE, weights(), DOCUMENTS, 4, attention)
    expected, _ = training.train(RECIPE, weights(), DOCUMENTS, 4)
    torch.testing.assert_close(losses, expected, rtol=1e-13, atol=0)


def test_a_mistake_in_the_recipe_is_made_in_training():
    right, _ = training.train(RECIPE, weights(), DOCUMENTS, 3)
    for edit in ({"schedule": "constant"}, {"optimizer": "sgd"}, {"learning_rate": 0.02}, {"loss": "sum"}):
        wrong, _ = training.train(RECIPE.edited(edit), weights(), DOCUMENTS, 3)
        assert (wrong - right).abs().max() > 1e-6, edit


def test_no_step_lies_beyond_the_schedule():
    with pytest.raises(ValueError, match=r"step 4 is not in the schedule's 0 \.\. 3"):
        training.train(RECIPE, weights(), DOCUMENTS, 5)


def test_samples_follow_the_distribution_that_the_logits_give():
    table, count = weights(), 1000
    stream = random.Random(3)
    first = [(training.sample(RECIPE, table, 2.0, stream) or [5])[0] for _ in range(count)]
    expected = torch.softmax(gpt.Decoder(RECIPE, table).logits(torch.tensor([5]))[0] / 2.0, 0)
    found = torch.bincount(torch.tensor(first), minlength=6) / count
    assert (found - expected).abs().max() < 0.06


def test_samples_end_at_bos_or_when_the_block_is_full():
    table = weights()
    table |= {name: torch.zeros_like(rows) for name, rows in table.items() if name.endswith(("attn_wo", "mlp_fc2"))}
    table["wte"][:, 0] = 100.0  # after the norm the first channel is near 2, whatever the token
    for certain, sample in ((5, []), (2, [2] * 5)):
        table["lm_head"] = torch.zeros(6, 4, dtype=torch.float64)
        table["lm_head"][certain, 0] = 1000.0
        assert training.sample(RECIPE, table, 1.0, random.Random(0)) == sample


def test_a_program_is_evaluated_with_its_gradients():
    program = [["a * b", [0, 1], None], ["c - a", [2], 3.0], ["a ** c", [3], -0.5], ["relu a", [1], None]]
    values, gradients = expressions.evaluate([2.0, -0.5], program, [0.0, 0.0, 0.0, 0.0, 1.0, 10.0])
    assert values.tolist() == [2.0, -0.5, -1.0, 4.0, 0.5, 0.0]
    # d (3 - x y)^(-1/2) / dx = y/2 (3 - x y)^(-3/2), and relu passes nothing where it is negative.
    assert gradients.tolist() == pytest.approx([-0.25 / 8, 1 / 8, 1 / 16, -1 / 16, 1.0, 10.0])


@pytest.mark.parametrize(
    ("operation", "value", "slope"),
    [
        ("a + c", 5.0, 1.0),
        ("c + a", 5.0, 1.0),
        ("a - c", -1.0, 1.0),
        ("c - a", 1.0, -1.0),
        ("a * c", 6.0, 3.0),
        ("c * a", 6.0, 3.0),
        ("a / c", 2 / 3, 1 / 3),
        ("c / a", 1.5, -0.75),
        ("a ** c", 8.0, 12.0),
    ],
)
def test_operations_with_a_number_have_it_on_their_side(operation, value, slope):
    values, gradients = expressions.evaluate([2.0], [[operation, [0], 3.0]], [0.0, 1.0])
    assert (values[1].item(), gradients[0].item()) == pytest.approx((value, slope))


def test_odd_programs_are_refused():
    with pytest.raises(KeyError):
        expressions.evaluate([1.0], [["sqrt a", [0], None]], [1.0, 1.0])
    with pytest.raises(IndexError):
        expressions.evaluate([1.0], [["-a", [1], None]], [1.0, 1.0])
    with pytest.raises(ValueError, match="shorter"):
        expressions.evaluate([1.0], [["-a", [0], None]], [1.0])


def test_the_schedule_is_that_of_the_optimizer():
    rates = [adam.learning_rate_at(RECIPE, step) for step in range(4)]
    assert rates == [0.01, 0.0075, 0.005, 0.0025]
