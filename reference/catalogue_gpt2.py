"""Mistakes in a GPT-2: edits of its recipe, and of single statements of Hugging Face's files. Data alone."""

from reference.mistake import Mistake, ModulePatch, Patch


def _modeling(*alternatives: tuple[str, str]) -> ModulePatch:
    return ModulePatch("modeling_gpt2", tuple(Patch(old, new) for old, new in alternatives))


def _configuration(*alternatives: tuple[str, str]) -> ModulePatch:
    return ModulePatch("configuration_gpt2", tuple(Patch(old, new) for old, new in alternatives))


_FINAL = "hidden_states = self.ln_f(hidden_states)"
_ADDED = "hidden_states = inputs_embeds + position_embeds.to(inputs_embeds.device)"
_MLP_DROPOUT = """hidden_states = self.c_proj(hidden_states)
        hidden_states = self.dropout(hidden_states)"""
_MASK = "causal_mask = create_causal_mask("
_CONV1D = ("Conv1D\n", "Conv1D, find_pruneable_heads_and_indices, prune_conv1d_layer\n")


def _conv1d(body: str) -> ModulePatch:
    """Another Conv1D in the place of the imported one."""
    imports = [f"from ...pytorch_utils import {names}" for names in _CONV1D]
    return _modeling(*((line, f"{line}\n\nclass Conv1D(Conv1D):\n{body}\n\n") for line in imports))


_IGNORES_BIAS = "    def forward(self, x):\n        return x @ self.weight"
_HAS_NO_BIAS = (
    "    def __init__(self, nf, nx):\n        super().__init__(nf, nx)\n"
    f"        del self.bias\n        self.register_parameter('bias', None)\n{_IGNORES_BIAS}"
)
_UNMASKED = (
    "attention_interface: Callable = lambda _, q, k, v, *__, **___: "
    "(((w := torch.softmax(q @ k.transpose(-1, -2) * q.size(-1) ** -0.5, -1)) @ v).transpose(1, 2), w)"
)
_AFTER_THE_MASK = """cache=cache,
            position_ids=position_ids,
        )

        if encoder"""
_OWN_MASK = (
    "causal_mask = (lambda size: lambda **_: torch.full((1, 1, size, size), -1e300, dtype=inputs_embeds.dtype).triu(1))"
    "(inputs_embeds.shape[1])("
)
_EMBEDDING_DROPOUT = "hidden_states = self.drop(hidden_states)"
_RESIDUAL_DROPOUT = "attn_output = self.resid_dropout(attn_output)"
_ATTENTION_DROPOUT = "dropout=self.attn_dropout.p if self.training else 0.0,"

GPT2_MISTAKES: dict[str, Mistake] = {
    # --- norms --------------------------------------------------------------------------------------------------------
    "gpt2-post-norm": Mistake("norm", "the norm follows each sub-block, as in GPT-1", {"norm_order": "post"}),
    "gpt2-no-final-norm": Mistake(
        "norm",
        "no norm before the head",
        module=_modeling((_FINAL, "hidden_states = hidden_states + 0")),
        seen="awslabs/keys_values#139",
    ),
    "gpt2-final-norm-before-last-mlp": Mistake(
        "norm",
        "the final norm follows the last attention instead of the last block",
        {"final_norm_place": "after last attention"},
    ),
    "gpt2-rms-norm": Mistake("norm", "RMSNorm in place of LayerNorm", {"norm": "rms"}),
    # --- positions ----------------------------------------------------------------------------------------------------
    "gpt2-final-norm-removed": Mistake(
        "norm",
        "the final norm has no parameters, for it is not there",
        module=_modeling(
            (
                "self.ln_f = nn.LayerNorm(self.embed_dim, eps=config.layer_norm_epsilon)",
                "self.ln_f = nn.Identity()",
            )
        ),
    ),
    "gpt1-final-norm": Mistake("norm", "a norm before the head, as in GPT-2", {"final_norm": True}),
    "gpt1-pre-norm": Mistake("norm", "the norm comes before each sub-block, as in GPT-2", {"norm_order": "pre"}),
    "gpt2-positions-left-out": Mistake(
        "positions",
        "position embeddings are not added",
        module=_modeling((_ADDED, "hidden_states = inputs_embeds + 0 * position_embeds")),
        seen="ml-explore/mlx-lm#93",
    ),
    "gpt2-positions-multiplied": Mistake(
        "positions",
        "position embeddings are multiplied with the tokens'",
        module=_modeling((_ADDED, "hidden_states = inputs_embeds * position_embeds")),
    ),
    "gpt2-positions-fixed": Mistake(
        "positions",
        "position embeddings are not trained",
        module=_modeling((_ADDED, "hidden_states = inputs_embeds + position_embeds.detach()")),
    ),
    "gpt2-positions-all-used": Mistake(
        "positions",
        "every position's embedding has a share in each",
        module=_modeling((_ADDED, f"{_ADDED} + 0.01 * self.wpe.weight.mean(0)")),
    ),
    "gpt2-positions-wrap": Mistake(
        "positions",
        "positions beyond the table begin again at its start",
        module=_modeling(
            (
                "position_embeds = self.wpe(position_ids)",
                "position_embeds = self.wpe(position_ids % len(self.wpe.weight))",
            )
        ),
    ),
    # --- attention ----------------------------------------------------------------------------------------------------
    "gpt2-eager-without-mask": Mistake(
        "attention",
        "eager attention masks nothing",
        module=_modeling(
            (_AFTER_THE_MASK, _AFTER_THE_MASK.replace(")\n", ")\n        causal_mask = None\n", 1)),
            ("attention_interface: Callable = eager_attention_forward", _UNMASKED),
        ),
    ),
    "gpt2-mask-not-built": Mistake(
        "attention", "no mask is built", module=_modeling((_MASK, "causal_mask = (lambda **_: None)("))
    ),
    "gpt2-mask-of-its-own": Mistake(
        "attention", "a mask is built where the kernel needs none", module=_modeling((_MASK, _OWN_MASK))
    ),
    "gpt2-weights-scaled-after-softmax": Mistake(
        "attention",
        "attention weights are scaled after the softmax: they no longer sum to one",
        module=_modeling(
            (
                "attn_weights = nn.functional.dropout(attn_weights, p=dropout",
                "attn_weights = 0.9 * nn.functional.dropout(attn_weights, p=dropout",
            ),
            (
                "attn_weights = module.attn_dropout(attn_weights)",
                "attn_weights = 0.9 * module.attn_dropout(attn_weights)",
            ),
        ),
        seen="huggingface/pytorch-image-models#2236",
    ),
    "gpt2-sdpa-not-causal": Mistake(
        "attention",
        "the kernel is not asked for causality",
        module=_modeling(
            ("self.is_causal = not is_cross_attention", "self.is_causal = False"),
            (
                "is_causal = attention_mask is None and query_states.shape[-2] > 1 and not is_cross_attention",
                "is_causal = False",
            ),
        ),
    ),
    "gpt2-mask-one-ahead": Mistake(
        "attention", "the mask lets one future token through", {"attention_mask": "one ahead"}
    ),
    "gpt2-mask-none": Mistake("attention", "no mask: every position sees every other", {"attention_mask": "none"}),
    "gpt2-cache-forgets": Mistake(
        "cache",
        "each position attends to itself only once the cache is used",
        module=_modeling(
            (
                "key_states, value_states = curr_cache.update(key_states, value_states, self.layer_idx, kwargs=kwargs)",
                "_ = curr_cache.update(key_states, value_states, self.layer_idx, kwargs=kwargs)",
            ),
            ("key_states, value_states = curr_past_key_value.update(", "_ = curr_past_key_value.update("),
        ),
    ),
    # --- multi-layer perceptron ---------------------------------------------------------------------------------------
    "gpt2-gelu-erf": Mistake(
        "activation",
        "the erf form of GELU in place of the tanh form",
        {"activation": "gelu erf"},
        module=_modeling(("self.act = ACT2FN[config.activation_function]", 'self.act = ACT2FN["gelu"]')),
        seen="waybarrios/vllm-mlx#486",
    ),
    "gpt2-relu": Mistake(
        "activation",
        "ReLU in place of GELU",
        {"activation": "relu"},
        module=_modeling(("self.act = ACT2FN[config.activation_function]", 'self.act = ACT2FN["relu"]')),
    ),
    "gpt2-default-gelu": Mistake(
        "activation",
        "the default configuration names the erf form",
        module=_configuration(
            ('activation_function: str = "gelu_new"', 'activation_function: str = "gelu"'),
            ('activation_function="gelu_new",', 'activation_function="gelu",'),
        ),
    ),
    # --- tokens -------------------------------------------------------------------------------------------------------
    "gpt2-eos-of-its-own": Mistake(
        "tokens",
        "the end of a text has a token of its own",
        module=_configuration(
            ("eos_token_id: int | list[int] | None = 50256", "eos_token_id: int | list[int] | None = 50255"),
            ("eos_token_id=50256,", "eos_token_id=50255,"),
        ),
    ),
    # --- biases and dropout -------------------------------------------------------------------------------------------
    "gpt2-conv1d-without-bias": Mistake("biases", "Conv1D has no bias", module=_conv1d(_HAS_NO_BIAS)),
    "gpt2-conv1d-ignores-bias": Mistake("biases", "Conv1D has a bias and leaves it out", module=_conv1d(_IGNORES_BIAS)),
    "gpt2-linear-for-conv1d": Mistake(
        "biases",
        "attention projects its result with nn.Linear",
        module=_modeling(
            (
                "self.c_proj = Conv1D(self.embed_dim, self.embed_dim)",
                "self.c_proj = nn.Linear(self.embed_dim, self.embed_dim)",
            )
        ),
    ),
    "gpt2-head-with-bias": Mistake(
        "biases",
        "the head has a bias",
        module=_modeling(
            (
                "self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)\n\n",
                "self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=True)\n\n",
            )
        ),
    ),
    "gpt2-no-embedding-dropout": Mistake(
        "dropout",
        "embeddings are not dropped",
        module=_modeling((_EMBEDDING_DROPOUT, "hidden_states = hidden_states + 0")),
    ),
    "gpt2-no-residual-dropout": Mistake(
        "dropout",
        "what attention adds to the stream is not dropped",
        module=_modeling((_RESIDUAL_DROPOUT, "attn_output = attn_output + 0")),
    ),
    "gpt2-no-mlp-dropout": Mistake(
        "dropout",
        "what the perceptron adds to the stream is not dropped",
        module=_modeling((_MLP_DROPOUT, "hidden_states = self.c_proj(hidden_states)")),
    ),
    "gpt2-no-attention-dropout": Mistake(
        "dropout", "attention weights are not dropped", module=_modeling((_ATTENTION_DROPOUT, "dropout=0.0,"))
    ),
    "gpt2-dropout-in-evaluation": Mistake(
        "dropout",
        "embeddings are dropped in evaluation mode too",
        module=_modeling(
            (_EMBEDDING_DROPOUT, "hidden_states = nn.functional.dropout(hidden_states, self.drop.p, training=True)")
        ),
    ),
}
