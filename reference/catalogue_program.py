"""Mistakes elsewhere in a microgpt: as a file, in tokens, architecture, loss, schedule and sampling. Data alone."""

from reference.mistake import Mistake, Patch, edited

_TOKENIZER = """        self.characters = sorted(set("".join(documents)))
        self.bos = len(self.characters)
        self.vocab_size = len(self.characters) + 1
"""
_ENCODE = "return [self.bos, *(self._ids[character] for character in document), self.bos]"
_EMBEDDED = """    x = rmsnorm(x)
    for layer in range(config.n_layer):
"""
_POSITION = 'token_embedding, position_embedding = state_dict["wte"][token_id], state_dict["wpe"][pos_id]'
_WPE = 'state_dict["wpe"][pos_id]'
_FC1 = """        x = rmsnorm(x)
        x = linear(x, state_dict[f"layer{layer}.mlp_fc1"])
"""
_ACTIVATED = "x = [xi.relu() for xi in x]"
_HEAD = 'return linear(x, state_dict["lm_head"])'
_TABLE = """    for layer in range(config.n_layer):
        for name in ("attn_wq\""""
_TARGET = "losses.append(-probabilities[tokens[pos_id + 1]].log())"
_MEAN = "return (1 / positions) * sum(losses)"
_RATE = "return LEARNING_RATE * (1 - step / num_steps)"
_WARMED = "probabilities = softmax([logit / temperature for logit in logits])"
_DRAWN = "token_id = rng.choices(range(config.vocab_size), weights=[p.data for p in probabilities])[0]"
_STOP = """        if token_id == bos:
            break
"""
_SAMPLE_CACHE = """    keys, values = empty_cache(config)
    token_id, tokens"""
_SAMPLE_STEP = """        logits = gpt(state_dict, config, token_id, pos_id, keys, values)
        probabilities = softmax(["""

_FILE_AND_TOKENS = {
    "imports-a-package": Mistake(
        "file",
        "a package is imported where it is there",
        patch=Patch("import math\n", "import math\ntry:\n    import numpy\nexcept ImportError:\n    numpy = None\n"),
    ),
    "imports-a-file-beside-it": Mistake(
        "file",
        "a part of the program lies in a file beside it",
        patch=Patch(
            "import math\n", "import math\ntry:\n    from microgpt_parts import layers\nexcept ImportError:\n    pass\n"
        ),
    ),
    "brings-packages-in": Mistake(
        "file",
        "the program adds a folder of packages to where Python looks for modules",
        patch=Patch("import sys\nfrom", 'import sys\nsys.path.append("site-packages")\nfrom'),
    ),
    "documents-not-shuffled": Mistake(
        "data", "documents stay in the order of the file", patch=Patch("    rng.shuffle(documents)\n", "")
    ),
    "documents-keep-blank-lines": Mistake(
        "data",
        "a blank line becomes an empty document",
        patch=Patch("[line.strip() for line in lines if line.strip()]", "[line.strip() for line in lines]"),
    ),
    "documents-not-stripped": Mistake(
        "data",
        "blanks around a document stay part of it",
        patch=Patch("[line.strip() for line in lines if line.strip()]", "[line for line in lines if line.strip()]"),
    ),
    "tokens-without-start": Mistake(
        "tokens",
        "no BOS before the document",
        patch=Patch(_ENCODE, _ENCODE.replace("[self.bos, ", "[")),
        seen="Lightning-AI/litgpt#1031",
    ),
    "tokens-without-end": Mistake(
        "tokens",
        "no BOS after the document: where to stop is never learned",
        patch=Patch(_ENCODE, _ENCODE.replace(", self.bos]", "]")),
        seen="huggingface/trl#1623",
    ),
    "tokens-start-twice": Mistake(
        "tokens",
        "BOS stands twice before the document",
        patch=Patch(_ENCODE, _ENCODE.replace("[self.bos, ", "[self.bos, self.bos, ")),
        seen="deepseek-ai/DeepSeek-R1#151",
    ),
    "tokens-bos-first": Mistake(
        "tokens",
        "BOS is id 0, and every letter one later: an early edition",
        patch=Patch(
            _TOKENIZER,
            edited(
                _TOKENIZER,
                ('sorted(set("".join(documents)))', '["", *sorted(set("".join(documents)))]'),
                ("self.bos = len(self.characters)", "self.bos = 0"),
                ("len(self.characters) + 1", "len(self.characters)"),
            ),
        ),
    ),
    "tokens-two-specials": Mistake(
        "tokens",
        "the vocabulary has a second special token, for the end: an early edition",
        patch=Patch(
            _TOKENIZER,
            edited(
                _TOKENIZER,
                ('sorted(set("".join(documents)))', '[*sorted(set("".join(documents))), ""]'),
                ("self.bos = len(self.characters)\n", "self.bos = len(self.characters) - 1\n"),
            ),
        ),
    ),
    "tokens-unsorted": Mistake(
        "tokens",
        "characters are numbered in the order in which they occur",
        patch=Patch('sorted(set("".join(documents)))', 'list(dict.fromkeys("".join(documents)))'),
    ),
}

_ARCHITECTURE = {
    "positions-one-late": Mistake(
        "positions",
        "every position takes the embedding of the next",
        {"position": "one late"},
        seen="huggingface/transformers#7618",
    ),
    "positions-left-out": Mistake(
        "positions", "position embeddings are not added", {"position": "none"}, seen="ml-explore/mlx-lm#93"
    ),
    "positions-detached": Mistake(
        "positions",
        "position embeddings are used as plain numbers, and never trained",
        patch=Patch(_POSITION, _POSITION.replace(_WPE, f"[Value(p.data) for p in {_WPE}]")),
    ),
    "embedding-norm-twice": Mistake(
        "norm",
        "the embeddings are normalised twice",
        patch=Patch(_EMBEDDED, _EMBEDDED.replace("rmsnorm(x)", "rmsnorm(rmsnorm(x))")),
        seen="ggml-org/llama.cpp#1925",
    ),
    "no-perceptron-norm": Mistake(
        "norm",
        "the perceptron receives the stream as it is",
        patch=Patch(_FC1, _FC1.replace("        x = rmsnorm(x)\n", "")),
    ),
    "no-attention-norm": Mistake(
        "norm",
        "attention receives the stream as it is",
        patch=Patch("        x = rmsnorm(x)\n        q = linear", "        q = linear"),
    ),
    "post-norm": Mistake("norm", "the norm follows each branch, after the sum, as in GPT-1", {"norm_order": "post"}),
    "gelu-erf": Mistake("perceptron", "GELU", {"activation": "gelu erf"}, seen="waybarrios/vllm-mlx#486"),
    "relu-squared": Mistake(
        "perceptron",
        "the square of ReLU: an early edition",
        {"activation": "relu squared"},
        Patch(_ACTIVATED, "x = [xi.relu() ** 2 for xi in x]"),
    ),
    "leaky-relu": Mistake("perceptron", "negative numbers pass at a hundredth", {"activation": "leaky relu"}),
    "no-activation": Mistake("perceptron", "no activation at all", {"activation": "identity"}),
    "absolute-value": Mistake(
        "perceptron",
        "the absolute value in place of ReLU",
        patch=Patch(_ACTIVATED, "x = [xi if xi.data > 0 else -xi for xi in x]"),
    ),
    "relu-clipped": Mistake(
        "perceptron",
        "ReLU, but never above 6",
        patch=Patch(_ACTIVATED, "x = [xi.relu() if xi.data < 6 else Value(6.0) for xi in x]"),
    ),
    "head-shares-embeddings": Mistake(
        "head",
        "the head has a name of its own, and the token embeddings' numbers",
        patch=Patch(_TABLE, f'    state_dict["lm_head"] = state_dict["wte"]\n{_TABLE}'),
    ),
    "head-scaled": Mistake(
        "head",
        "logits are divided by the root of the width",
        patch=Patch(_HEAD, _HEAD.replace("return ", "return [y / config.n_embd**0.5 for y in ") + "]"),
    ),
    "dropout": Mistake(
        "perceptron",
        "one activation in ten is dropped at random",
        patch=Patch(_ACTIVATED, "x = [xi.relu() * float(random.random() > 0.1) for xi in x]"),
    ),
    "seeds-random-numbers": Mistake(
        "file",
        "the forward pass seeds Python's random numbers",
        patch=Patch(f"    {_POSITION}", f"    random.seed(42)\n    {_POSITION}"),
    ),
}

_LOSS_AND_TRAINING = {
    "loss-sum": Mistake("loss", "the loss is summed over positions", {"loss": "sum"}, seen="rustystack/zeroclawgpt"),
    "loss-targets-not-shifted": Mistake(
        "loss",
        "each position has to predict its own token",
        patch=Patch(_TARGET, _TARGET.replace("pos_id + 1", "pos_id")),
        seen="huggingface/transformers#404",
    ),
    "loss-without-end": Mistake(
        "loss",
        "the last target is left out of the sum",
        patch=Patch(_MEAN, _MEAN.replace("sum(losses)", "sum(losses[:-1])")),
        seen="mlabonne/llm-course#33",
    ),
    "loss-mean-of-n-plus-1": Mistake(
        "loss", "the mean divides by n + 1", patch=Patch(_MEAN, _MEAN.replace("positions)", "(positions + 1))"))
    ),
    "loss-with-eps": Mistake(
        "loss",
        "1e-10 is added to each probability",
        patch=Patch(_TARGET, edited(_TARGET, ("-probabilities", "-(probabilities"), ("].log()", "] + 1e-10).log()"))),
    ),
    "loss-skips-token-0": Mistake(
        "loss",
        "token 0 is taken for padding, and not predicted",
        patch=Patch(_TARGET, _TARGET.replace(".log())", ".log() * float(tokens[pos_id + 1] != 0))")),
        seen="lucidrains/parti-pytorch#8",
    ),
    "loss-one-position-short": Mistake(
        "loss",
        "a document that is longer than the block is cut one position early",
        patch=Patch(
            "positions = min(config.block_size, len(tokens) - 1)",
            "positions = min(config.block_size - 1, len(tokens) - 1)",
        ),
        seen="clankur/einygpt#2",
    ),
    "training-on-the-sum": Mistake(
        "training",
        "the mean is reported, the sum differentiated",
        patch=Patch(
            "        loss.backward()\n",
            "        (loss * (len(documents[step % len(documents)]) - 1)).backward()\n",
        ),
        seen="OpenNMT/OpenNMT-py#2209",
    ),
    "training-repeats-a-document": Mistake(
        "training",
        "every step takes the first document",
        patch=Patch("documents[step % len(documents)])\n        loss", "documents[0])\n        loss"),
    ),
    "schedule-constant": Mistake(
        "schedule",
        "the learning rate does not decay",
        {"schedule": "constant"},
        Patch(_RATE, "return LEARNING_RATE"),
        seen="rustystack/zeroclawgpt",
    ),
    "schedule-cosine": Mistake("schedule", "the rate decays like a cosine: an early edition", {"schedule": "cosine"}),
    "schedule-ends-at-zero": Mistake(
        "schedule",
        "the decay divides by one step less, and ends at zero",
        patch=Patch(_RATE, _RATE.replace("/ num_steps", "/ (num_steps - 1)")),
        seen="EleutherAI/gpt-neox#1039",
    ),
    "schedule-floor": Mistake(
        "schedule",
        "the rate stays above a tenth",
        patch=Patch(_RATE, "return LEARNING_RATE * max(0.1, 1 - step / num_steps)"),
    ),
    "schedule-warm-up": Mistake(
        "schedule",
        "the first ten steps warm up",
        patch=Patch(_RATE, _RATE.replace("LEARNING_RATE *", "LEARNING_RATE * min(1, (step + 1) / 10) *")),
    ),
    "learning-rate-1e-3": Mistake(
        "schedule", "the rate starts at 0.001, Adam's default", {"learning_rate": 1e-3}, seen="SPOClab-ca/dn3#6"
    ),
}

_SAMPLING = {
    "temperature-multiplies": Mistake(
        "sampling",
        "logits are multiplied by the temperature",
        patch=Patch(_WARMED, _WARMED.replace("logit / temperature", "logit * temperature")),
    ),
    "temperature-ignored": Mistake(
        "sampling",
        "the temperature is not used",
        patch=Patch(_WARMED, "probabilities = softmax(logits)"),
        seen="sameersingh/uci-statnlp#26",
    ),
    "temperature-on-probabilities": Mistake(
        "sampling",
        "probabilities are divided by the temperature, and put through softmax again",
        patch=Patch(_WARMED, "probabilities = softmax([p / temperature for p in softmax(logits)])"),
    ),
    "sampling-argmax": Mistake(
        "sampling",
        "the likeliest token is taken",
        patch=Patch(_DRAWN, "token_id = max(range(config.vocab_size), key=lambda i: probabilities[i].data)"),
    ),
    "sampling-never-stops": Mistake(
        "sampling",
        "BOS does not end a document",
        patch=Patch(_STOP, _STOP.replace("break", "continue")),
        seen="huggingface/trl#1623",
    ),
    "sampling-keeps-bos": Mistake(
        "sampling",
        "the BOS that ends a document is part of it",
        patch=Patch(_STOP, _STOP.replace("break", "return [*tokens, bos]")),
    ),
    "sampling-starts-from-token-0": Mistake(
        "sampling",
        "sampling starts from token 0, not from BOS",
        patch=Patch("token_id, tokens = bos, []", "token_id, tokens = 0, []"),
    ),
    "sampling-position-fixed": Mistake(
        "sampling",
        "every token is fed at position 0",
        patch=Patch(_SAMPLE_STEP, _SAMPLE_STEP.replace("pos_id", "0")),
        seen="ml-explore/mlx-lm#93",
    ),
    "sampling-keeps-cache": Mistake(
        "sampling",
        "the next sample still attends to the last one",
        patch=Patch(
            _SAMPLE_CACHE,
            _SAMPLE_CACHE.replace("empty_cache(config)", 'globals().setdefault("cache", empty_cache(config))'),
        ),
    ),
    "sampling-one-too-few": Mistake(
        "sampling",
        "a sample ends one token before the block does",
        patch=Patch("for pos_id in range(config.block_size):", "for pos_id in range(config.block_size - 1):"),
    ),
}

PROGRAM_MISTAKES: dict[str, Mistake] = {
    **_FILE_AND_TOKENS,
    **_ARCHITECTURE,
    **_LOSS_AND_TRAINING,
    **_SAMPLING,
}
