"""Small batches of noise that a model accepts, for the proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffmerge_core.checks import expect
from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.tasks.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor, nn

_SENTENCES, _TOKENS = 4, 8


def token_example(model: nn.Module) -> Batch:
    """Draw token ids evenly from the vocabulary, for a model of one stack.

    Parameters
    ----------
    model : torch.nn.Module
        Of transformers, with a `vocab_size` in its configuration.

    Returns
    -------
    Batch
        Of (4, 8) int64, or as many columns as the model has positions.

    Raises
    ------
    UnsupportedModelError
        If its configuration names no vocabulary.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> batch = fm.token_example(fm.load("demo:gpt2-code").model)
    >>> tuple(batch.args[0].shape)
    (4, 8)
    """
    import torch

    ids = _ids(model, "vocab_size", seed=0)
    # No cache: a block that keeps one would write to it under the layer's own number.
    return Batch((ids,), {"attention_mask": torch.ones_like(ids), "use_cache": False})


def pair_example(model: nn.Module) -> Batch:
    """Draw token ids evenly from the vocabulary, for an encoder and for a decoder.

    Parameters
    ----------
    model : torch.nn.Module
        Of transformers, with a `vocab_size` in its configuration.

    Returns
    -------
    Batch
        Two of (4, 8) int64, or as many columns as the model has positions.

    Raises
    ------
    UnsupportedModelError
        If its configuration names no vocabulary.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> batch = fm.pair_example(fm.load("demo:gpt2-code").model)
    >>> tuple(batch.args[0].shape), tuple(batch.kwargs["decoder_input_ids"].shape)
    ((4, 8), (4, 8))
    """
    import torch

    source = _ids(model, "vocab_size", seed=0)
    return Batch(
        (source,),
        {
            "attention_mask": torch.ones_like(source),
            # The decoder has a vocabulary of its own where embeddings are not shared.
            "decoder_input_ids": _ids(model, "decoder_vocab_size", seed=1),
            "use_cache": False,
        },
    )


def _ids(model: nn.Module, vocabulary: str, seed: int) -> Tensor:
    """(4, 8) int64; fewer columns where the model has fewer positions."""
    import torch

    expect(UnsupportedModelError, model=(model, torch.nn.Module))
    config: Any = getattr(model, "config", None)
    if not isinstance(whole := getattr(config, "vocab_size", None), int):
        raise UnsupportedModelError(
            f"The configuration of a {type(model).__name__} has no vocab_size, so no tokens can be "
            "drawn. Give its family an example of its own: a function of the model to a fm.Batch."
        )
    size = min(whole, getattr(config, vocabulary, whole))
    longest = min(_TOKENS, getattr(config, "max_position_embeddings", None) or _TOKENS)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, size, (_SENTENCES, _TOKENS), generator=generator)[:, :longest]


def speech_example(model: nn.Module) -> Batch:
    """Noise in the place of a spectrogram, and token ids for the decoder."""
    import torch

    config: Any = model.config
    generator = torch.Generator().manual_seed(0)
    # An encoder takes two frames for each of its positions, and no other number of them.
    shape = (_SENTENCES, config.num_mel_bins, 2 * config.max_source_positions)
    return Batch(
        (torch.randn(shape, generator=generator),),
        {"decoder_input_ids": _ids(model, "vocab_size", seed=1), "use_cache": False},
    )


def image_example(model: nn.Module) -> Batch:
    """Noise in the place of images, of the size in the configuration."""
    config: Any = model.config
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    return image_noise(config.num_channels, height, width)


def image_noise(channels: int, height: int, width: int) -> Batch:
    """(4, channels, height, width)."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return Batch((torch.randn(4, channels, height, width, generator=generator),))
