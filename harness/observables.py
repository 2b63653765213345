"""The declared observables: what each means, what may be given, which arrays come back, and who can answer it.

Letters: T positions, C width, D head size, H heads, L layers, V vocabulary, n parameters, k steps. Sizes that are not
given are the probe's. What may be given stands in `givens`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.givens import (
    AdamGiven,
    Conv1dGiven,
    CopyGiven,
    DependenciesGiven,
    DocumentsGiven,
    ExpressionsGiven,
    FirstUpdateGiven,
    FutureGiven,
    Given,
    GradientsGiven,
    LogitsGiven,
    MatrixGiven,
    ModelGiven,
    NothingGiven,
    SamplesGiven,
    ScheduleGiven,
    SizesGiven,
    TextGiven,
    TokensGiven,
    TrainingGiven,
    VectorGiven,
)


@dataclass(frozen=True)
class Observable:
    """A named quantity that a subject computes from given inputs."""

    meaning: str
    given: type[Given]
    arrays: Mapping[str, str]
    subjects: tuple[str, ...] = ("microgpt",)  # who can be asked
    references: tuple[str, ...] = ()  # who else can answer it
    readings: tuple[str, ...] = ("float64",)
    from_others: bool = False  # computed by the harness from other observations
    plain: bool = False  # values that are compared as they are, not as numbers
    exact_zeros: tuple[str, ...] = ()  # arrays whose rows of zeros are zero in exact arithmetic
    symbols: Mapping[str, str] = field(default_factory=dict)  # assumptions on traced inputs, by the start of their name


_ADAM_SYMBOLS = {
    "v[": "positive",
    "step": "count",
    "beta": "fraction",
    "eps": "positive",
    "learning_rate": "positive",
}
_FLOAT_AND_EXACT = ("float64", "symbols", "digits")

OBSERVABLES: dict[str, Observable] = {
    "tokens": Observable(
        "token ids of documents, and the size of the vocabulary",
        TokensGiven,
        {"document i": "ids, from BOS to BOS", "text i": "decoded again", "bos": "its id", "vocab_size": "V"},
        references=("torch",),
        plain=True,
    ),
    "imports": Observable(
        "modules that the file imports, anywhere in it, beyond the standard library: packages, and files beside it",
        NothingGiven,
        {"beyond the standard library": "names"},
        plain=True,
    ),
    "interpreter": Observable(
        "how the process that has just run the file was started, and where else it could have found packages",
        NothingGiven,
        {"isolated": "true or false", "without site": "true or false", "package folders": "paths"},
        plain=True,
    ),
    "documents": Observable(
        "the documents that are read from a text file, and whether their order was changed",
        TextGiven,
        {"documents": "texts, sorted", "shuffled": "true or false"},
        references=("torch",),
        plain=True,
    ),
    "expressions": Observable(
        "every node of a random graph of scalar operations, and its gradient under a random cotangent",
        ExpressionsGiven,
        {"values": "n", "gradients": "n"},
        references=("torch",),
    ),
    "training": Observable(
        "losses of the first steps of the subject's own training, and every parameter after the last of them",
        TrainingGiven,
        {"losses": "k", "...": "the parameter of that name"},
        references=("torch",),
    ),
    "learning_rate": Observable(
        "the rate that training hands to each update of a whole schedule",
        ScheduleGiven,
        {"learning_rate": "k"},
        references=("torch",),
    ),
    "samples": Observable(
        "documents drawn from given weights with a given stream of random numbers",
        SamplesGiven,
        {"samples": "token ids of each"},
        references=("torch",),
        plain=True,
    ),
    "generation": Observable(
        "what sampling feeds to the model, and what it returns, where a script of certain tokens stands for the model: "
        "one that stops at once, one that stops on the way, one that never does",
        SamplesGiven,
        dict.fromkeys(("tokens fed", "positions fed", "keys held", "samples"), "one list for each script"),
        references=("torch",),
        plain=True,
    ),
    "repeatability": Observable(
        "whether two forward passes agree to the last bit, and leave Python's random numbers alone",
        ModelGiven,
        {"identical": "true or false", "random state untouched": "true or false"},
        plain=True,
    ),
    "activation": Observable(
        "what the perceptron makes of given numbers between mlp_fc1 and mlp_fc2; 0 and both signs are among them",
        SizesGiven,
        {"y": "4C"},
        subjects=("microgpt", "gpt2"),
        references=("torch", "paper"),
    ),
    "norm_calls": Observable(
        "how often the norm is taken before each layer's attention, before each layer's perceptron, before the head",
        ModelGiven,
        {"before attention": "L", "before perceptron": "L", "before head": "one number", "in all": "one number"},
        plain=True,
    ),
    "stream_start": Observable(
        "what the head receives, without what attention and perceptrons have added to it",
        ModelGiven,
        {"start": "T x C"},
        references=("torch",),
    ),
    "head": Observable(
        "logits of a given stream",
        SizesGiven,
        {"logits": "V"},
        references=("torch", "paper"),
    ),
    "shared_parameters": Observable(
        "pairs of parameter tables that hold the same numbers, not merely equal ones",
        SizesGiven,
        {"shared": "pairs of names"},
        plain=True,
    ),
    "rms_norm": Observable(
        "the subject's norm of one vector",
        VectorGiven,
        {"y": "C"},
        references=("torch", "paper", "huggingface"),
        readings=_FLOAT_AND_EXACT,
    ),
    "softmax": Observable(
        "probabilities from scores",
        VectorGiven,
        {"y": "n"},
        references=("torch", "paper"),
        readings=_FLOAT_AND_EXACT,
    ),
    "linear": Observable(
        "a matrix times a vector",
        MatrixGiven,
        {"y": "n_out"},
        references=("torch", "paper"),
        readings=_FLOAT_AND_EXACT,
    ),
    "attention": Observable(
        "what the subject's attention code makes of given queries, keys and values, and the gradients by each of them "
        "under a random cotangent",
        ModelGiven,
        {"output": "L x T x C", "q gradient": "L x T x C", "k gradient": "L x T x C", "v gradient": "L x T x C"},
        references=("torch", "paper"),
    ),
    "logits": Observable(
        "logits at every position of one document",
        LogitsGiven,
        {"logits": "T x V"},
        subjects=("microgpt", "gpt2", "gpt1"),
        references=("torch", "paper", "gpt2"),
        readings=("float64", "digits"),
    ),
    "gradients": Observable(
        "loss, and the gradient of every parameter; or the gradient of one component under a random cotangent",
        GradientsGiven,
        {"loss": "one a document", "wte": "V x C", "...": "the shape of the parameter of that name"},
        subjects=("microgpt", "gpt2"),
        references=("torch", "gpt2"),
        exact_zeros=("wte", "wpe"),
    ),
    "attention_widths": Observable(
        "how many scores each attention softmax receives at each position",
        ModelGiven,
        {"scores": "T x (L H)"},
        references=("paper",),
    ),
    "cache_lengths": Observable(
        "how many keys and values each layer's cache holds after each position, document by document",
        DocumentsGiven,
        {"keys of document i": "T x L", "values of document i": "T x L"},
        references=("paper",),
    ),
    "dependencies": Observable(
        "1 where an output was computed from an input, read from a trace of the subject's own operations; an input "
        "that is absent cannot have had an influence on the path that was taken",
        DependenciesGiven,
        {"tokens": "T x T, on each token's embedding", "positions": "T x T", "input": "C x C", "parameters": "C x n"},
        references=("paper",),
        readings=("dependencies",),
    ),
    "future_influence": Observable(
        "largest change of the logits up to each position when all later tokens are replaced, or removed",
        FutureGiven,
        {"change": "T - 1"},
        subjects=("microgpt", "gpt2"),
        references=("torch",),
        from_others=True,
    ),
    "past_influence": Observable(
        "largest change of the logits at t when token s alone is replaced, for each s up to t",
        ModelGiven,
        {"change": "T (T + 1) / 2"},
        subjects=("microgpt", "gpt2"),
        references=("torch",),
        from_others=True,
    ),
    "past_gradients": Observable(
        "largest gradient of the last position's loss alone by each token's embedding",
        ModelGiven,
        {"gradient": "T"},
        references=("torch",),
    ),
    "adam": Observable(
        "parameters and both moments after each update for given gradients; tiny ones are 1e-12, huge ones 1e6, "
        "of sparse ones half are zero",
        AdamGiven,
        {"parameters": "k x n", "m": "k x n", "v": "k x n"},
        references=("torch", "paper"),
        readings=_FLOAT_AND_EXACT,
        symbols=_ADAM_SYMBOLS,
    ),
    "first_update": Observable(
        "the very first update, from moments of zero: what is added to a parameter that was 0",
        FirstUpdateGiven,
        {"update": "n"},
        references=("torch", "paper"),
        readings=_FLOAT_AND_EXACT,
        symbols=_ADAM_SYMBOLS,
    ),
    "optimizer_start": Observable(
        "moments and step number with which the subject's training makes its first update",
        SizesGiven,
        {"m": "n", "v": "n", "step": "one number"},
        references=("paper",),
    ),
    "parameters": Observable(
        "the shape of every parameter by name, and how many are vectors rather than matrices",
        SizesGiven,
        {"vectors": "one number", "...": "the shape of the parameter of that name"},
        subjects=("microgpt", "gpt2"),
        references=("torch",),
        plain=True,
    ),
    "stages": Observable(
        "what the forward pass computes on its way: embeddings, what each sub-block receives and gives, the stream "
        "after it, what the head takes, logits; of Hugging Face's modules by hooks",
        ModelGiven,
        {"embedding": "T x C", "final": "T x C", "logits": "T x V", "...": "T x C, such as layer0.attention_in"},
        subjects=("gpt2", "gpt1"),
        references=("torch",),
    ),
    "norm_distances": Observable(
        "how far what is received is from a LayerNorm of what came before, wherever a norm could stand",
        ModelGiven,
        {"before": "2 L, each sub-block's input", "after": "2 L, the stream it leaves", "head": "1", "head bare": "1"},
        subjects=("gpt2", "gpt1"),
        references=("torch",),
    ),
    "position_gradients": Observable(
        "largest gradient of the loss by each row of wpe, of the positions that were used and of those that were not",
        ModelGiven,
        {"used": "T", "unused": "B - T"},
        subjects=("gpt2",),
    ),
    "influence_gradients": Observable(
        "largest gradient of the logits at t by the embedding at s, for s later than t and for s up to t",
        ModelGiven,
        {"later": "T (T - 1) / 2", "up to present": "T (T + 1) / 2"},
        subjects=("gpt2",),
        references=("torch",),
    ),
    "copy_loss": Observable(
        "mean loss on fresh random tokens after a short training to predict the next of them, less a token's entropy",
        CopyGiven,
        {"above entropy": "one number, in nats"},
        subjects=(),
        references=("torch",),
    ),
    "attention_probabilities": Observable(
        "attention weights after the softmax, split at the diagonal, and the sum of each row",
        ModelGiven,
        {"later": "L x H x T (T - 1) / 2", "up to present": "L x H x T (T + 1) / 2", "row sums": "L x H x T"},
        subjects=("gpt2",),
    ),
    "causal_mask": Observable(
        "what the module hands to attention as its mask: whether there is one, and its values beside the diagonal",
        ModelGiven,
        {"built": "yes or no", "later": "in words", "up to present": "in words"},
        subjects=("gpt2",),
        plain=True,
    ),
    "conv1d": Observable(
        "what every Conv1D makes of one input, with random biases",
        Conv1dGiven,
        {"...": "n_out, by microgpt's name of the matrix"},
        subjects=("gpt2",),
        references=("torch",),
    ),
    "dropout": Observable(
        "how far the logits move when embd_pdrop, resid_pdrop or attn_pdrop alone is not zero; and, in training, each "
        "dropout module of the embeddings and of the first block",
        ModelGiven,
        {"training": "3", "modules": "4", "evaluation": "3"},
        subjects=("gpt2",),
    ),
    "edit_distances": Observable(
        "with microgpt's weights, how far GPT-2's logits are from those of all edits: with each edit left out, and "
        "after each rung of the ladder",
        ModelGiven,
        {"left out": "one an edit", "ladder": "one a rung, the first before any edit"},
        subjects=("gpt2",),
    ),
    "gpt2_config": Observable(
        "values of GPT-2's default configuration",
        NothingGiven,
        {"bos equals eos": "yes or no", "...": "the value of that name"},
        subjects=("gpt2",),
        plain=True,
    ),
    "beyond_positions": Observable(
        "what becomes of one token more than there are positions",
        SizesGiven,
        {"raises": "the name of the error"},
        subjects=("gpt2",),
        plain=True,
    ),
    "hyperparameters": Observable(
        "learning_rate, beta1, beta2, eps_adam, num_steps, temperature and the default sizes",
        NothingGiven,
        {"beta1": "one number", "...": "one number each"},
        references=("torch",),
        plain=True,
    ),
}


def array_of(observable: Observable, name: str) -> bool:
    """Whether an observation of it can hold an array of that name."""
    starts = [key.removesuffix("i") for key in observable.arrays if key.endswith(" i")]
    return name in observable.arrays or "..." in observable.arrays or any(name.startswith(s) for s in starts)


def default_given(name: str) -> dict[str, Any]:
    """What is observed where a check gives nothing."""
    return OBSERVABLES[name].given().model_dump(exclude_none=True)
