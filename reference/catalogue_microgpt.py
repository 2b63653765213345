"""Mistakes in a microgpt: in its norm, attention, cache and optimizer. Data alone."""

from reference.mistake import Mistake, Patch, edited

_MEAN_SQUARE = "mean_square = sum(xi * xi for xi in x) / len(x)"
_SCALE = "scale = (mean_square + 1e-5) ** -0.5"
_APPEND_KEYS = 'keys[layer].append(linear(x, state_dict[f"layer{layer}.attn_wk"]))'
_APPEND_VALUES = 'values[layer].append(linear(x, state_dict[f"layer{layer}.attn_wv"]))'
_HEAD = "heads += attend(q[part], [k[part] for k in keys[layer]], [v[part] for v in values[layer]])"
_HEAD_LINEAR = 'return linear(x, state_dict["lm_head"])'
_SCORES = "scores = [sum(qi * ki for qi, ki in zip(q, k, strict=True)) / len(q) ** 0.5 for k in keys]"
_M_HAT = "m_hat = m[i] / (1 - beta1 ** (step + 1))"
_V_HAT = "v_hat = v[i] / (1 - beta2 ** (step + 1))"
_UPDATE = "parameter.data -= learning_rate * m_hat / (v_hat**0.5 + eps)"
_FIRST_MOMENT = "m[i] = beta1 * m[i] + (1 - beta1) * parameter.grad\n"
_SECOND_MOMENT = "v[i] = beta2 * v[i] + (1 - beta2) * parameter.grad**2"
_LOSS_CACHE = """    positions = min(config.block_size, len(tokens) - 1)
    keys, values = empty_cache(config)
"""

MICROGPT_MISTAKES: dict[str, Mistake] = {
    # --- norm ---------------------------------------------------------------------------------------------------------
    "layer-norm": Mistake(
        "norm",
        "the mean is subtracted: LayerNorm in place of RMSNorm",
        {"norm": "layer"},
        Patch(_MEAN_SQUARE, f"mean = sum(x) / len(x)\n    x = [xi - mean for xi in x]\n    {_MEAN_SQUARE}"),
        seen="ggml-org/llama.cpp#173",
    ),
    "rms-eps-outside-sqrt": Mistake(
        "norm",
        "eps is added to the root instead of under it",
        {"norm_eps_place": "beside root"},
        Patch(_SCALE, "scale = (mean_square**0.5 + 1e-5) ** -1"),
        seen="allenai/OLMo#281",
    ),
    "rms-eps-maximum": Mistake(
        "norm", "the mean square is held above eps instead of eps being added", {"norm_eps_place": "maximum"}
    ),
    "rms-eps-1e-6": Mistake(
        "norm",
        "eps is 1e-6",
        {"norm_eps": 1e-6},
        Patch(_SCALE, "scale = (mean_square + 1e-6) ** -0.5"),
        seen="THUDM/SwissArmyTransformer#40",
    ),
    "rms-no-eps": Mistake("norm", "no eps at all", {"norm_eps": 0.0}, Patch(_SCALE, "scale = mean_square ** -0.5")),
    "rms-sum-not-mean": Mistake(
        "norm",
        "the squares are summed, not averaged",
        {"norm_mean": "sum"},
        Patch(_MEAN_SQUARE, "mean_square = sum(xi * xi for xi in x)"),
    ),
    "rms-divides-by-n-minus-1": Mistake(
        "norm",
        "the mean of squares divides by n - 1",
        {"norm_mean": "n - 1"},
        Patch(_MEAN_SQUARE, "mean_square = sum(xi * xi for xi in x) / (len(x) - 1)"),
        seen="harvardnlp/annotated-transformer#119",
    ),
    "rms-no-root": Mistake(
        "norm",
        "divides by the mean square, without its root",
        {"norm_root": "plain"},
        Patch(_SCALE, "scale = (mean_square + 1e-5) ** -1"),
    ),
    "rms-multiplies": Mistake(
        "norm",
        "multiplies by the root mean square instead of dividing",
        {"norm_root": "multiply"},
        Patch(_SCALE, "scale = (mean_square + 1e-5) ** 0.5"),
        seen="mosaicml/llm-foundry#371",
    ),
    "rms-mean-of-absolute-values": Mistake(
        "norm",
        "the mean is of absolute values, not of squares",
        patch=Patch(_MEAN_SQUARE, "mean_square = sum(xi if xi.data > 0 else -xi for xi in x) / len(x)"),
    ),
    "norm-gain": Mistake(
        "norm",
        "a learned gain in every norm",
        patch=Patch(
            '"lm_head": matrix(config.vocab_size, width),  # V x C\n    }',
            '"lm_head": matrix(config.vocab_size, width),\n        "norm_gain": matrix(1, width),\n    }',
        ),
    ),
    "embedding-norm-missing": Mistake(
        "norm",
        "the sum of the embeddings is not normalised",
        {"embedding_norm": False},
        Patch("    x = rmsnorm(x)\n    for layer in", "    for layer in"),
    ),
    "final-norm-extra": Mistake(
        "norm",
        "a norm before the head, as in GPT-2",
        {"final_norm": True},
        Patch(_HEAD_LINEAR, _HEAD_LINEAR.replace("linear(x,", "linear(rmsnorm(x),")),
        seen="awslabs/keys_values#139",
    ),
    # --- head and perceptron ------------------------------------------------------------------------------------------
    "head-tied": Mistake(
        "head",
        "the head is the token embedding",
        {"tied_head": True},
        Patch(_HEAD_LINEAR, _HEAD_LINEAR.replace("lm_head", "wte")),
        seen="pegainfer-project/pegainfer#544",
    ),
    "activation-gelu": Mistake(
        "activation", "GELU in place of ReLU", {"activation": "gelu tanh"}, seen="OpenNMT/CTranslate2#1658"
    ),
    # --- softmax ------------------------------------------------------------------------------------------------------
    "softmax-denominator": Mistake(
        "softmax",
        "1e-8 is added to the sum of the exponentials",
        patch=Patch("    total = sum(exps)\n", "    total = sum(exps) + 1e-8\n"),
        seen="open-edge-platform/geti#1507",
    ),
    "softmax-without-maximum": Mistake(
        "softmax",
        "the largest score is not taken off first: scores above 709 overflow",
        patch=Patch("exps = [(logit - largest).exp() for logit in logits]", "exps = [logit.exp() for logit in logits]"),
        seen="numenta/nupic-legacy#3818",
    ),
    "softmax-maximum-with-zero": Mistake(
        "softmax",
        "the larger of zero and the largest score is taken off: scores that all lie below -745 give 0/0",
        patch=Patch(
            "largest = max(logit.data for logit in logits)", "largest = max(0.0, *(logit.data for logit in logits))"
        ),
        seen="FluxML/NNlib.jl#43",
    ),
    # --- attention and its cache --------------------------------------------------------------------------------------
    "mask-none": Mistake("attention", "no mask: every position sees every other", {"attention_mask": "none"}),
    "mask-off-by-one": Mistake(
        "attention",
        "the mask lets one future token through",
        {"attention_mask": "one ahead"},
        seen="flashinfer-ai/flashinfer#348",
    ),
    "mask-excludes-self": Mistake(
        "attention",
        "a position does not attend to itself",
        {"attention_mask": "past only"},
        Patch(
            _HEAD,
            edited(
                _HEAD,
                ("in keys[layer]]", "in keys[layer][:max(1, pos_id)]]"),
                ("in values[layer]]", "in values[layer][:max(1, pos_id)]]"),
            ),
        ),
        seen="pbloem/former#10",
    ),
    "cache-none": Mistake(
        "attention",
        "each position attends to itself only: the cache is not read",
        {"attention_mask": "self only"},
        Patch(
            _HEAD,
            edited(_HEAD, ("in keys[layer]]", "in keys[layer][-1:]]"), ("in values[layer]]", "in values[layer][-1:]]")),
        ),
        seen="rustystack/zeroclawgpt, bug 1",
    ),
    "cache-window": Mistake(
        "attention",
        "only the last four positions are attended to",
        {"attention_mask": "window of 4"},
        Patch(
            _HEAD,
            edited(_HEAD, ("in keys[layer]]", "in keys[layer][-4:]]"), ("in values[layer]]", "in values[layer][-4:]]")),
        ),
        seen="huggingface/transformers#47708",
    ),
    "cache-appended-after-attending": Mistake(
        "cache",
        "keys and values are appended after attention: a position misses itself, the first attends to nothing",
        patch=Patch(
            _HEAD,
            edited(
                _HEAD,
                ("in keys[layer]]", "in keys[layer][:-1]]"),
                ("in values[layer]]", "in values[layer][:-1]]"),
                ("attend(", "[0 * qi for qi in q[part]] if pos_id == 0 else attend("),
            ),
        ),
        seen="TrenTorch/TrenTorch#192",
    ),
    "cache-kept-between-documents": Mistake(
        "cache",
        "the next document still attends to the last one",
        patch=Patch(
            _LOSS_CACHE,
            """    positions = min(config.block_size, len(tokens) - 1)
    keys, values = globals().setdefault("cache", empty_cache(config))
""",
        ),
        seen="awslabs/keys_values#45",
    ),
    "cache-of-layer-0": Mistake(
        "cache",
        "every layer reads the first layer's cache",
        patch=Patch(_HEAD, edited(_HEAD, ("keys[layer]", "keys[0]"), ("values[layer]", "values[0]"))),
        seen="dingodb/DingoCache#116",
    ),
    "cache-appends-twice": Mistake(
        "cache",
        "keys and values are appended twice: the same function, with twice the cache",
        patch=Patch(
            f"{_APPEND_KEYS}\n        {_APPEND_VALUES}",
            f"{_APPEND_KEYS}\n        {_APPEND_VALUES}"
            "\n        keys[layer].append(keys[layer][-1])\n        values[layer].append(values[layer][-1])",
        ),
        seen="ModelEngine-Group/unified-cache-management#1243",
    ),
    "cache-detached": Mistake(
        "cache",
        "keys and values are stored as plain numbers: no gradient flows through the cache",
        patch=Patch(
            f"{_APPEND_KEYS}\n        {_APPEND_VALUES}",
            edited(_APPEND_KEYS, ("append(linear", "append([Value(k.data) for k in linear"), ('wk"]))', 'wk"])])'))
            + "\n        "
            + edited(_APPEND_VALUES, ("append(linear", "append([Value(v.data) for v in linear"), ('wv"]))', 'wv"])])')),
        ),
    ),
    "input-not-shifted": Mistake(
        "tokens",
        "the model is given the very token that it has to predict",
        patch=Patch(
            "logits = gpt(state_dict, config, tokens[pos_id], pos_id, keys, values)",
            "logits = gpt(state_dict, config, tokens[pos_id + 1], pos_id, keys, values)",
        ),
        seen="huggingface/transformers#404",
    ),
    "values-from-keys": Mistake(
        "attention",
        "keys are stored where values belong",
        patch=Patch(_APPEND_VALUES, _APPEND_VALUES.replace("attn_wv", "attn_wk")),
    ),
    "attention-unscaled": Mistake(
        "attention",
        "scores are not divided by the root of the head size",
        {"attention_scale": "1"},
        Patch(_SCORES, _SCORES.replace(" / len(q) ** 0.5", "")),
        seen="mlc-ai/mlc-llm#3426",
    ),
    "attention-scaled-by-width": Mistake(
        "attention",
        "scores are divided by the root of the width, not of the head size",
        {"attention_scale": "1/sqrt(C)"},
        seen="karpathy/ng-video-lecture#6",
    ),
    "attention-over-heads": Mistake(
        "attention", "the softmax runs over the heads", {"attention_softmax": "heads"}, seen="PetrochukM/PyTorch-NLP#2"
    ),
    "queries-and-keys-swapped": Mistake(
        "attention",
        "queries are built with the keys' weights",
        patch=Patch(
            'q = linear(x, state_dict[f"layer{layer}.attn_wq"])', 'q = linear(x, state_dict[f"layer{layer}.attn_wk"])'
        ),
    ),
    # --- Adam ---------------------------------------------------------------------------------------------------------
    "adam-no-bias-correction": Mistake(
        "adam",
        "the moments are used as they are",
        {"bias_correction": "none"},
        Patch(f"{_M_HAT}\n        {_V_HAT}", "m_hat = m[i]\n        v_hat = v[i]"),
        seen="oxiglade/mlx-rs#301",
    ),
    "adam-only-first-corrected": Mistake(
        "adam",
        "only the first moment is corrected",
        {"bias_correction": "first"},
        Patch(_V_HAT, "v_hat = v[i]"),
    ),
    "adam-only-second-corrected": Mistake(
        "adam",
        "only the second moment is corrected",
        {"bias_correction": "second"},
        Patch(_M_HAT, "m_hat = m[i]"),
    ),
    "adam-step-frozen": Mistake(
        "adam",
        "the step number never grows: 1 - beta in place of 1 - beta^t",
        {"bias_correction": "frozen"},
        Patch(_M_HAT, "m_hat = m[i] / (1 - beta1)"),
        seen="allenai/OLMo-core#317",
    ),
    "adam-step-late": Mistake(
        "adam",
        "the first step is taken with t = 2",
        {"bias_correction": "late"},
        Patch(_M_HAT, "m_hat = m[i] / (1 - beta1 ** (step + 2))"),
        seen="cs231n/cs231n.github.io#179",
    ),
    "adam-corrections-swapped": Mistake(
        "adam", "each moment is corrected with the other's beta", {"bias_correction": "swapped"}
    ),
    "adam-betas-swapped": Mistake(
        "adam",
        "the first moment decays with the second's beta",
        patch=Patch(_FIRST_MOMENT, "m[i] = beta2 * m[i] + (1 - beta2) * parameter.grad\n"),
    ),
    "adam-eps-under-root": Mistake(
        "adam",
        "eps is added under the root",
        {"eps_adam_place": "under root"},
        Patch(_UPDATE, "parameter.data -= learning_rate * m_hat / (v_hat + eps) ** 0.5"),
    ),
    "adam-epsilon-hat": Mistake(
        "adam",
        "eps is added before the second moment is corrected",
        {"eps_adam_place": "epsilon hat"},
        seen="tensorflow/tensorflow#9047",
    ),
    "adam-eps-1e-7": Mistake("adam", "eps is 1e-7", {"eps_adam": 1e-7}),
    "adam-no-root": Mistake(
        "adam",
        "divides by the second moment, not by its root",
        {"second_moment_root": False},
        Patch(_UPDATE, "parameter.data -= learning_rate * m_hat / (v_hat + eps)"),
        seen="FluxML/Flux.jl#119",
    ),
    "adam-absolute-gradient": Mistake(
        "adam", "the second moment averages absolute gradients", {"second_moment": "absolute"}
    ),
    "adam-second-moment-of-square-gradient": Mistake(
        "adam",
        "the second moment averages the gradient, not its square",
        patch=Patch(_SECOND_MOMENT, "v[i] = beta2 * v[i] + (1 - beta2) * parameter.grad"),
    ),
    "adam-weight-decay": Mistake(
        "adam",
        "AdamW's weight decay of 0.01",
        {"weight_decay": 0.01},
        Patch(_UPDATE, f"parameter.data -= learning_rate * 0.01 * parameter.data\n        {_UPDATE}"),
        seen="torch.optim.AdamW's default",
    ),
    "adam-amsgrad": Mistake("adam", "AMSGrad: the largest second moment so far", {"optimizer": "amsgrad"}),
    "adam-nadam": Mistake("adam", "Nesterov momentum", {"optimizer": "nadam"}),
    "adam-sgd": Mistake("adam", "plain gradient descent", {"optimizer": "sgd"}),
    "adam-skips-zero-gradients": Mistake(
        "adam",
        "a parameter whose gradient is zero is left alone, its momentum ignored",
        patch=Patch(
            "    for i, parameter in enumerate(parameters):\n",
            "    for i, parameter in enumerate(parameters):\n        if parameter.grad == 0:\n            continue\n",
        ),
        seen="torch.optim.SparseAdam",
    ),
    "adam-gradient-not-cleared": Mistake(
        "adam",
        "the next step's gradients are added to the last one's",
        patch=Patch("        parameter.grad = 0.0\n", "        parameter.grad *= 1.0\n"),
    ),
    "adam-counts-from-one": Mistake(
        "adam",
        "training starts to count its steps at one",
        patch=Patch(
            "adam_update(parameters, m, v, step, learning_rate_at(step, num_steps))",
            "adam_update(parameters, m, v, step + 1, learning_rate_at(step, num_steps))",
        ),
        seen="cs231n/cs231n.github.io#179",
    ),
    "adam-moments-start-at-one": Mistake(
        "adam",
        "the second moment starts at one",
        patch=Patch(
            "m, v = [0.0] * len(parameters), [0.0] * len(parameters)",
            "m, v = [0.0] * len(parameters), [1.0] * len(parameters)",
        ),
    ),
}
