"""Recordings: read as they were written, and what two models make of them compared."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from ffmerge_core.tasks.recordings import read_wave
from tests.conftest import randomise
from tests.models.rows import PAIRS

RATE = 16_000


def sound(number: int, seconds: float = 0.5) -> np.ndarray:
    """A tone in [−1, 1)."""
    t = np.arange(int(RATE * seconds)) / RATE
    return 0.8 * np.sin(2 * np.pi * (200 + 40 * number) * t)


def wav(samples: np.ndarray, width: int = 2, channels: int = 1, rate: int = RATE) -> bytes:
    """As wave writes it. samples: (n,) or (n, channels)."""
    kind, scale, offset = {1: ("u1", 128, 128), 2: ("<i2", 2**15, 0), 4: ("<i4", 2**31, 0)}[width]
    place = io.BytesIO()
    with wave.open(place, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes((samples * (scale - 1) + offset).round().astype(kind).tobytes())
    return place.getvalue()


@pytest.mark.parametrize(("width", "near"), [(1, 2e-2), (2, 1e-4), (4, 1e-6)])
def test_samples_are_what_was_written(width: int, near: float) -> None:
    samples = sound(3)
    np.testing.assert_allclose(read_wave(wav(samples, width), "a.wav", RATE), samples, atol=near)
    two = np.stack([samples, np.zeros_like(samples)], 1)
    found = read_wave(wav(two, width, channels=2), "a.wav", RATE)
    np.testing.assert_allclose(found, samples / 2, atol=near)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"RIFF", "not a WAV file"),
        (b"no sound at all, but some words", "not a WAV file"),
        (wav(sound(1), rate=8_000), "8,000 samples a second of 16 bits; 16,000"),
        (wav(sound(1)[:0]), "holds no sound"),
    ],
)
def test_what_is_not_read_is_a_sentence(content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=f"odd\\.wav.*{said}"):
        read_wave(content, "odd.wav", RATE)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its feature extractor, and recordings in a folder and a zip."""
    place = tmp_path_factory.mktemp("speech")
    config: dict[str, Any] = {"max_source_positions": 50, "max_target_positions": 8}
    model = WhisperForConditionalGeneration(WhisperConfig(**PAIRS, **config, num_mel_bins=8))
    randomise(model, 1.0)
    torch.nn.init.zeros_(model.model.decoder.layer_norm.bias)  # or it writes one token alone
    model.save_pretrained(place / "model")
    WhisperFeatureExtractor(feature_size=8, chunk_length=1).save_pretrained(place / "model")
    (place / "tones").mkdir()
    with ZipFile(place / "tones.zip", "w") as archive:
        for number in range(20):
            (place / "tones" / f"{number}.wav").write_bytes(wav(sound(number)))
            archive.writestr(f"{number}.wav", wav(sound(number)))
    return place


def test_a_model_that_hears_is_merged_and_compared(heard: Path) -> None:
    model = fm.load(heard / "model", task=heard / "tones", fidelity=True)
    task: Any = model.require_task()
    assert (task.metric, task.examples, task.unit) == (
        "top-1 agreement", "recordings", "recordings",
    )  # fmt: skip
    assert [task.size(split) for split in ("train", "validation", "test")] == [16, 2, 2]
    feats = fm.calibrate(model, tokens=60)
    groups = (("encoder.0", "encoder.2"), ("decoder.0", "decoder.1"))
    merged = fm.apply(model, fm.MergePlan(groups), feats)
    assert fm.evaluate(model).value == 1
    assert fm.evaluate(merged).loss > 0
    tuned = fm.recover(merged, steps=2, batch_size=2)
    assert tuned.n_parameters == merged.n_parameters
    zipped = fm.load(heard / "model", task=heard / "tones.zip", fidelity=True)
    assert zipped.require_task().revision == task.revision


def test_what_is_written_is_what_transformers_writes(heard: Path) -> None:
    """By its own greedy search, from the same features."""
    task: Any = fm.load(heard / "model", task=heard / "tones", fidelity=True).task
    model = WhisperForConditionalGeneration.from_pretrained(heard / "model").eval()
    (batch,) = task.inputs("test")
    model.generation_config.eos_token_id = None
    plain: Any = super(WhisperForConditionalGeneration, model)
    with torch.inference_mode():
        own = plain.generate(
            batch.args[0], max_length=8, do_sample=False, num_beams=1, eos_token_id=None,
            pad_token_id=0, suppress_tokens=None, forced_eos_token_id=None,
        )  # fmt: skip
    assert torch.equal(batch.kwargs["decoder_input_ids"][:, 1:], own)
    assert len(own.unique()) > 1


def test_without_the_original_or_the_extractor_there_is_nothing_to_measure(heard: Path) -> None:
    with pytest.raises(DataError, match=r"writes speech down .* fidelity=True"):
        fm.load(heard / "model", task=heard / "tones")
    module = fm.load(heard / "model").model
    with pytest.raises(DataError, match=r"wants its sound is not known .*preprocessor_config"):
        fm.load(module, task=heard / "tones", fidelity=True)
