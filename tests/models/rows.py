"""A tiny random model of each family, and of its variants: a row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
import transformers
from torch import nn

from tests.conftest import randomise

TEXT = {
    "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
FEW_KEYS = {**TEXT, "num_key_value_heads": 2}
HEADS = {**FEW_KEYS, "head_dim": 8}
IMAGES = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "image_size": 8, "patch_size": 2, "num_channels": 1,
}  # fmt: skip
PAIRS = {
    "vocab_size": 40, "d_model": 32, "encoder_layers": 3, "decoder_layers": 3,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48, "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": 2,
}  # fmt: skip
T5 = {
    "vocab_size": 40, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4,
    "relative_attention_num_buckets": 8, "pad_token_id": 0, "eos_token_id": 1,
    "decoder_start_token_id": 0,
}  # fmt: skip
TIMM = {
    "img_size": 8, "patch_size": 2, "in_chans": 1, "num_classes": 10, "embed_dim": 32, "depth": 3,
    "num_heads": 4,
}  # fmt: skip
SWIN = {
    "img_size": 16, "patch_size": 2, "in_chans": 1, "num_classes": 10, "embed_dim": 16,
    "depths": (2, 2), "num_heads": (2, 4), "window_size": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """family: its name. what: a class of transformers, or an architecture of timm.

    config: the class of its configuration; None of timm's. gate: of a packed matrix, which half
    its library sends through φ, by its source.
    """

    family: str
    what: str
    config: str | None
    options: dict[str, Any]
    gate: str | None = None

    def __str__(self) -> str:
        more = [name for name, value in self.options.items() if value is True]
        return "-".join([self.family.replace(" ", "-"), self.what, *more])

    def build(self) -> nn.Module:
        """All its parameters are drawn, and statistics of batches too."""
        torch.manual_seed(0)
        if self.config is None:
            module = timm.create_model(self.what, **self.options)
        else:
            made: Any = getattr(transformers, self.config)
            module = getattr(transformers, self.what)(made(**self.options))
        fixed = _not_learnt(module)
        randomise(module)
        with torch.no_grad():
            for tensor, values in fixed:
                tensor.copy_(values)
            for name, buffer in module.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    buffer.uniform_(0.5, 1.5)
        return module


def _not_learnt(module: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Sinusoids are parameters to torch and no weights: transformers computes them anew."""
    return [
        (each.weight, each.weight.detach().clone())
        for each in module.modules()
        if "Sinusoidal" in type(each).__name__ and isinstance(each, nn.Embedding)
    ]


def _like(config: str, options: dict[str, Any], *classes: str) -> Callable[[str], list[Row]]:
    return lambda family: [Row(f"transformers {family}", name, config, options) for name in classes]


TRANSFORMERS = [
    *_like("GPT2Config", {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 48, "n_positions": 16,
           "vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2}, "GPT2LMHeadModel")("GPT-2"),
    *_like("GPTNeoConfig", {"hidden_size": 32, "num_layers": 4, "num_heads": 4, "vocab_size": 40,
           "intermediate_size": 48, "max_position_embeddings": 16, "window_size": 4,
           "attention_types": [[["global", "local"], 2]], "bos_token_id": 1, "eos_token_id": 2},
           "GPTNeoForCausalLM")("GPT-Neo"),
    *_like("GPTNeoXConfig", TEXT, "GPTNeoXForCausalLM")("GPT-NeoX"),
    *_like("OPTConfig", {"hidden_size": 32, "num_hidden_layers": 3, "ffn_dim": 48, "vocab_size": 40,
           "max_position_embeddings": 16, "num_attention_heads": 4, "word_embed_proj_dim": 16,
           "pad_token_id": 0}, "OPTForCausalLM")("OPT"),
    *_like("LlamaConfig", {**FEW_KEYS, "mlp_bias": True}, "LlamaForCausalLM")("Llama"),
    *_like("MistralConfig", {**HEADS, "sliding_window": 4}, "MistralForCausalLM")("Mistral"),
    *_like("Qwen2Config", {**FEW_KEYS, "use_sliding_window": True, "sliding_window": 4,
           "max_window_layers": 1}, "Qwen2ForCausalLM")("Qwen2"),
    *_like("Qwen3Config", {**HEADS, "tie_word_embeddings": True}, "Qwen3ForCausalLM")("Qwen3"),
    *_like("GemmaConfig", HEADS, "GemmaForCausalLM")("Gemma"),
    *_like("Gemma2Config", {**HEADS, "sliding_window": 4}, "Gemma2ForCausalLM")("Gemma 2"),
    *_like("Gemma3TextConfig", {**HEADS, "sliding_window": 4, "layer_types":
           ["sliding_attention", "full_attention", "sliding_attention"]},
           "Gemma3ForCausalLM")("Gemma 3"),
    *_like("OlmoConfig", TEXT, "OlmoForCausalLM")("OLMo"),
    *_like("Olmo2Config", TEXT, "Olmo2ForCausalLM")("OLMo 2"),
    Row("transformers Phi-3", "Phi3ForCausalLM", "Phi3Config", TEXT, gate="first"),
    Row("transformers GLM", "GlmForCausalLM", "GlmConfig", HEADS, gate="first"),
    *_like("GraniteConfig", TEXT, "GraniteForCausalLM")("Granite"),
    *_like("CohereConfig", TEXT, "CohereForCausalLM")("Cohere"),
    *_like("StableLmConfig", FEW_KEYS, "StableLmForCausalLM")("StableLM"),
    *_like("BertConfig", TEXT, "BertForMaskedLM", "BertForSequenceClassification",
           "BertModel")("BERT"),
    *_like("RobertaConfig", {**TEXT, "max_position_embeddings": 17}, "RobertaForMaskedLM",
           "RobertaForSequenceClassification", "RobertaModel")("RoBERTa"),
    *_like("DistilBertConfig", {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48,
           "vocab_size": 40, "max_position_embeddings": 16}, "DistilBertForMaskedLM",
           "DistilBertForSequenceClassification", "DistilBertModel")("DistilBERT"),
    *_like("ElectraConfig", {**TEXT, "embedding_size": 16}, "ElectraForMaskedLM",
           "ElectraForSequenceClassification", "ElectraModel", "ElectraForPreTraining")("ELECTRA"),
    *_like("ViTConfig", IMAGES, "ViTForImageClassification", "ViTModel")("ViT"),
    *_like("DeiTConfig", IMAGES, "DeiTForImageClassification",
           "DeiTForImageClassificationWithTeacher", "DeiTModel")("DeiT"),
    *_like("BeitConfig", {**IMAGES, "use_relative_position_bias": True},
           "BeitForImageClassification", "BeitModel")("BEiT"),
    *_like("Dinov2Config", IMAGES, "Dinov2ForImageClassification", "Dinov2Model")("DINOv2"),
    *_like("Dinov2Config", {**IMAGES, "use_swiglu_ffn": True},
           "Dinov2ForImageClassification")("DINOv2"),
    *_like("Dinov2WithRegistersConfig", IMAGES, "Dinov2WithRegistersForImageClassification",
           "Dinov2WithRegistersModel")("DINOv2 with registers"),
    *_like("DINOv3ViTConfig", IMAGES, "DINOv3ViTModel")("DINOv3"),
    *_like("DINOv3ViTConfig", {**IMAGES, "use_gated_mlp": True, "num_register_tokens": 2},
           "DINOv3ViTModel")("DINOv3"),
    *_like("CLIPVisionConfig", IMAGES, "CLIPVisionModel",
           "CLIPVisionModelWithProjection")("CLIP vision"),
    *_like("CLIPTextConfig", TEXT, "CLIPTextModel", "CLIPTextModelWithProjection")("CLIP text"),
    *_like("SiglipVisionConfig", IMAGES, "SiglipVisionModel")("SigLIP vision"),
    *_like("SiglipTextConfig", TEXT, "SiglipTextModel")("SigLIP text"),
    *_like("T5Config", T5, "T5ForConditionalGeneration")("T5"),
    *_like("T5Config", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
           "T5ForConditionalGeneration")("T5"),
    *_like("BartConfig", PAIRS, "BartForConditionalGeneration")("BART"),
    *_like("MBartConfig", PAIRS, "MBartForConditionalGeneration")("mBART"),
    *_like("M2M100Config", PAIRS, "M2M100ForConditionalGeneration")("M2M100"),
    *_like("MarianConfig", {**PAIRS, "activation_function": "swish"}, "MarianMTModel")("Marian"),
    *_like("PegasusConfig", PAIRS, "PegasusForConditionalGeneration")("Pegasus"),
    *_like("WhisperConfig", {**PAIRS, "max_source_positions": 8, "max_target_positions": 16,
           "num_mel_bins": 4}, "WhisperForConditionalGeneration")("Whisper"),
]  # fmt: skip

# timm fixes the other sizes of these.
MIXER = {"img_size": 64, "in_chans": 1, "num_classes": 10}

TIMM_ROWS = [
    Row("timm ViT", "vit_tiny_patch16_224", None, TIMM),
    Row("timm ViT", "deit_tiny_distilled_patch16_224", None, TIMM),
    Row("timm ViT", "deit3_small_patch16_224", None, TIMM),
    Row("timm ViT", "vit_giant_patch14_reg4_dinov2", None, TIMM, gate="first"),
    Row("timm BEiT", "beit_base_patch16_224", None, TIMM),
    Row("timm BEiT", "beitv2_base_patch16_224", None, TIMM),
    Row("timm EVA", "eva02_tiny_patch14_224", None, TIMM, gate="first"),
    Row("timm EVA", "eva02_base_patch14_224", None, TIMM),
    Row("timm EVA", "eva_giant_patch14_224", None, TIMM),
    Row("timm EVA", "vit_small_patch16_dinov3", None, TIMM),
    Row("timm EVA", "vit_small_plus_patch16_dinov3", None, TIMM),
    Row("timm CaiT", "cait_xxs24_224", None, TIMM),
    Row("timm XCiT", "xcit_nano_12_p8_224", None, {**TIMM, "patch_size": 8, "img_size": 16}),
    Row("timm NaFlexViT", "naflexvit_base_patch16_gap", None,
        {name: TIMM[name] for name in TIMM if name != "img_size"}),
    Row("timm MLP-Mixer", "mixer_s32_224", None, {**MIXER, "mlp_ratio": (0.5, 0.125)}),
    Row("timm MLP-Mixer", "gmixer_12_224", None, MIXER, gate="last"),
    Row("timm MLP-Mixer", "resmlp_12_224", None, MIXER),
    Row("timm Swin", "swin_tiny_patch4_window7_224", None, SWIN),
    Row("timm Swin", "swinv2_tiny_window8_256", None, SWIN),
]  # fmt: skip

ROWS = [*TRANSFORMERS, *TIMM_ROWS]
