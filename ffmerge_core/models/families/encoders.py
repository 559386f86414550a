"""Models of transformers that read text: one stack, an encoder, with a head or without."""

from __future__ import annotations

from typing import Any

from ffmerge_core.models.families.declare import alike
from ffmerge_core.models.families.examples import token_example
from ffmerge_core.models.families.family import Family
from ffmerge_core.models.families.vision import transformers_classes, transformers_names

_BERT: dict[str, Any] = {
    "attention": "attention",
    "w_in": "intermediate.dense",
    "w_out": "output.dense",
    "act": "intermediate.intermediate_act_fn",
}
_CLIP: dict[str, Any] = {
    "attention": "self_attn",
    "w_in": "mlp.fc1",
    "w_out": "mlp.fc2",
    "act": "mlp.activation_fn",
}


def _with_heads(label: str, known: str, help: str, source: str, **other: Any) -> Family:
    """Encoders for masked words, for classes, and without a head. known: how classes begin."""
    masked, classes, bare = (
        f"{known}{head}" for head in ("ForMaskedLM", "ForSequenceClassification", "Model")
    )
    settings: dict[str, Any] = {
        "kind": "text",
        "kinds": {masked: "masked-language-modeling", classes: "text-classification"},
        "classes": tuple(("transformers", name) for name in (masked, classes, bare)),
        "attention": ("attention",),
        "depths": {"encoder": "num_hidden_layers"},
        "find": alike("encoder", "encoder.layer", **_BERT),
        "example": token_example,
        "n_classes": transformers_classes,
        "class_names": transformers_names,
    }
    return Family(f"transformers {label}", label, help, source, **settings | other)


def _after_padding(config: Any) -> int:
    """RoBERTa counts positions from the one after its padding token's number."""
    return int(config.max_position_embeddings - config.pad_token_id - 1)


FAMILIES: tuple[Family, ...] = (
    _with_heads(
        "BERT",
        "Bert",
        "Encoders that read a text in both directions, with or without a head.",
        "Devlin et al. 2019, arXiv:1810.04805",
        embeddings=("bert.embeddings", "embeddings"),
        head=("cls", "classifier", "bert.pooler", "pooler"),
    ),
    _with_heads(
        "RoBERTa",
        "Roberta",
        "Encoders that read a text in both directions, with or without a head.",
        "Liu et al. 2019, arXiv:1907.11692",
        embeddings=("roberta.embeddings", "embeddings"),
        head=("lm_head", "classifier", "roberta.pooler", "pooler"),
        longest=_after_padding,
    ),
    _with_heads(
        "DistilBERT",
        "DistilBert",
        "Encoders with half of BERT's layers, with or without a head.",
        "Sanh et al. 2019, arXiv:1910.01108",
        embeddings=("distilbert.embeddings", "embeddings"),
        head=(
            "vocab_transform",
            "vocab_layer_norm",
            "vocab_projector",
            "pre_classifier",
            "classifier",
        ),
        depths={"encoder": "n_layers"},
        find=alike(
            "encoder",
            "transformer.layer",
            attention="attention",
            w_in="ffn.lin1",
            w_out="ffn.lin2",
            act="ffn.activation",
        ),
    ),
    _with_heads(
        "ELECTRA",
        "Electra",
        "Encoders that were taught to find replaced words, with or without a head.",
        "Clark et al. 2020, arXiv:2003.10555",
        classes=tuple(
            ("transformers", f"Electra{head}")
            for head in ("ForMaskedLM", "ForSequenceClassification", "ForPreTraining", "Model")
        ),
        embeddings=(
            "electra.embeddings",
            "embeddings",
            "electra.embeddings_project",
            "embeddings_project",
        ),
        head=(
            "generator_predictions",
            "generator_lm_head",
            "discriminator_predictions",
            "classifier",
        ),
    ),
    Family(
        "transformers CLIP text",
        "CLIP text",
        "The tower of CLIP that reads captions.",
        "Radford et al. 2021, arXiv:2103.00020",
        kind="text",
        classes=(
            ("transformers", "CLIPTextModel"),
            ("transformers", "CLIPTextModelWithProjection"),
        ),
        attention=("self_attn",),
        embeddings=("embeddings", "text_model.embeddings"),
        head=("text_projection",),
        depths={"encoder": "num_hidden_layers"},
        find=alike("encoder", "encoder.layers", inside=("text_model",), **_CLIP),
        example=token_example,
    ),
    Family(
        "transformers SigLIP text",
        "SigLIP text",
        "The tower of SigLIP that reads captions.",
        "Zhai et al. 2023, arXiv:2303.15343",
        kind="text",
        classes=(("transformers", "SiglipTextModel"),),
        attention=("self_attn",),
        embeddings=("embeddings", "text_model.embeddings"),
        head=("head", "text_model.head"),
        depths={"encoder": "num_hidden_layers"},
        find=alike("encoder", "encoder.layers", inside=("text_model",), **_CLIP),
        example=token_example,
    ),
)
