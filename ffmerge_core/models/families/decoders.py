"""Models of transformers that write text: one stack, a decoder."""

from __future__ import annotations

from typing import Any

from ffmerge_core.models.families.declare import alike
from ffmerge_core.models.families.examples import token_example
from ffmerge_core.models.families.family import Family

_GATED: dict[str, Any] = {
    "attention": "self_attn",
    "w_in": "mlp.up_proj",
    "w_gate": "mlp.gate_proj",
    "w_out": "mlp.down_proj",
    "act": "mlp.act_fn",
}
_PACKED: dict[str, Any] = {
    "attention": "self_attn",
    "w_in": "mlp.gate_up_proj",
    "packed": True,
    "w_out": "mlp.down_proj",
    "act": "mlp.activation_fn",
}
_GPT2: dict[str, Any] = {
    "attention": "attn",
    "w_in": "mlp.c_fc",
    "w_out": "mlp.c_proj",
    "act": "mlp.act",
}


def _like_llama(
    label: str, known: str, help: str, source: str, places: dict[str, Any] = _GATED
) -> Family:
    """A decoder whose modules are called as Llama's are. known: its class's name."""
    return Family(
        f"transformers {label}",
        label,
        help,
        source,
        kind="language-modeling",
        classes=(("transformers", known),),
        attention=("self_attn",),
        embeddings=("model.embed_tokens",),
        head=("lm_head",),
        depths={"decoder": "num_hidden_layers"},
        find=alike("decoder", "layers", **places),
        example=token_example,
    )


FAMILIES: tuple[Family, ...] = (
    Family(
        "transformers GPT-2",
        "GPT-2",
        "Decoders that write text; their weights are stored as in × out.",
        "Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
        kind="language-modeling",
        classes=(("transformers", "GPT2LMHeadModel"),),
        attention=("attn",),
        embeddings=("transformer.wte", "transformer.wpe"),
        head=("lm_head",),
        depths={"decoder": "n_layer"},
        find=alike("decoder", "h", **_GPT2),
        example=token_example,
    ),
    Family(
        "transformers GPT-Neo",
        "GPT-Neo",
        "Decoders that write text; every other layer looks back a few tokens only.",
        "Black et al. 2021, GPT-Neo: Large Scale Autoregressive Language Modeling",
        kind="language-modeling",
        classes=(("transformers", "GPTNeoForCausalLM"),),
        attention=("attn",),
        embeddings=("transformer.wte", "transformer.wpe"),
        head=("lm_head",),
        depths={"decoder": "num_layers"},
        find=alike("decoder", "h", **_GPT2),
        example=token_example,
    ),
    Family(
        "transformers GPT-NeoX",
        "GPT-NeoX",
        "Decoders that write text, Pythia among them; FF and attention run side by side.",
        "Black et al. 2022, arXiv:2204.06745; Biderman et al. 2023, arXiv:2304.01373",
        kind="language-modeling",
        classes=(("transformers", "GPTNeoXForCausalLM"),),
        attention=("attention",),
        embeddings=("gpt_neox.embed_in",),
        head=("lm_head", "embed_out"),
        depths={"decoder": "num_hidden_layers"},
        find=alike(
            "decoder",
            "layers",
            attention="attention",
            w_in="mlp.dense_h_to_4h",
            w_out="mlp.dense_4h_to_h",
            act="mlp.act",
        ),
        example=token_example,
    ),
    Family(
        "transformers OPT",
        "OPT",
        "Decoders that write text; their FF sublayers take flattened inputs.",
        "Zhang et al. 2022, arXiv:2205.01068",
        kind="language-modeling",
        classes=(("transformers", "OPTForCausalLM"),),
        attention=("self_attn",),
        embeddings=(
            "model.decoder.embed_tokens",
            "model.decoder.embed_positions",
            "model.decoder.project_in",
        ),
        head=("lm_head", "model.decoder.project_out"),
        depths={"decoder": "num_hidden_layers"},
        find=alike(
            "decoder",
            "decoder.layers",
            attention="self_attn",
            w_in="fc1",
            w_out="fc2",
            act="activation_fn",
        ),
        example=token_example,
    ),
    _like_llama(
        "Llama",
        "LlamaForCausalLM",
        "Decoders that write text, with a gate in every FF sublayer.",
        "Touvron et al. 2023, arXiv:2302.13971",
    ),
    _like_llama(
        "Mistral",
        "MistralForCausalLM",
        "Decoders that write text, with gates; attention looks back over a window.",
        "Jiang et al. 2023, arXiv:2310.06825",
    ),
    _like_llama(
        "Qwen2",
        "Qwen2ForCausalLM",
        "Decoders that write text, with gates and with biases in the attention.",
        "Yang et al. 2024, arXiv:2407.10671",
    ),
    _like_llama(
        "Qwen3",
        "Qwen3ForCausalLM",
        "Decoders that write text, with gates and with norms of queries and keys.",
        "Yang et al. 2025, arXiv:2505.09388",
    ),
    _like_llama(
        "Gemma",
        "GemmaForCausalLM",
        "Decoders that write text; a GELU opens their gates.",
        "Gemma Team 2024, arXiv:2403.08295",
    ),
    _like_llama(
        "Gemma 2",
        "Gemma2ForCausalLM",
        "Decoders that write text, with gates and a norm on both sides of each FF sublayer.",
        "Gemma Team 2024, arXiv:2408.00118",
    ),
    _like_llama(
        "Gemma 3",
        "Gemma3ForCausalLM",
        "Decoders that write text, with gates; most layers look back over a window. Text alone.",
        "Gemma Team 2025, arXiv:2503.19786",
    ),
    _like_llama(
        "OLMo",
        "OlmoForCausalLM",
        "Decoders that write text, with gates and norms without weights.",
        "Groeneveld et al. 2024, arXiv:2402.00838",
    ),
    _like_llama(
        "OLMo 2",
        "Olmo2ForCausalLM",
        "Decoders that write text, with gates and norms after each sublayer.",
        "OLMo Team 2024, arXiv:2501.00656",
    ),
    _like_llama(
        "Phi-3",
        "Phi3ForCausalLM",
        "Decoders that write text; gate and up projection lie in one matrix.",
        "Abdin et al. 2024, arXiv:2404.14219",
        _PACKED,
    ),
    _like_llama(
        "GLM",
        "GlmForCausalLM",
        "Decoders that write text; gate and up projection lie in one matrix.",
        "GLM Team 2024, arXiv:2406.12793",
        _PACKED,
    ),
    _like_llama(
        "Granite",
        "GraniteForCausalLM",
        "Decoders that write text, with gates and fixed factors on what is added.",
        "Granite Team 2024, Granite 3.0 Language Models",
    ),
    _like_llama(
        "Cohere",
        "CohereForCausalLM",
        "Decoders that write text, with gates; FF and attention run side by side.",
        "Cohere 2024, Command R",
    ),
    _like_llama(
        "StableLM",
        "StableLmForCausalLM",
        "Decoders that write text, with gates; a part of each head is rotated by position.",
        "Bellagente et al. 2024, arXiv:2402.17834",
    ),
)
