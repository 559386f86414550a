"""The walk at real sizes: open, measure, merge, score, save and open again.

    python -m benchmarks.real_sizes [NAME…]

Models of random weights from the configurations of well-known ones, in bfloat16, written as
checkpoints and opened as such. Each runs in a process of its own, whose peak memory is told.
Scores of random weights mean nothing; what is shown is that it runs, how long and in how much.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOKENS = 4_096
WORDS = [f"{a}{b}" for a in ("ba", "de", "fi", "go", "ku") for b in ("l", "m", "n", "r", "s")]


def gpt2_large() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_embd=1280, n_layer=36, n_head=20))


def llama_1b() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32_000, hidden_size=2048, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, intermediate_size=8192, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def opus_mt() -> Any:
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=60_000, decoder_vocab_size=60_000, d_model=512, encoder_layers=6,
        decoder_layers=6, encoder_attention_heads=8, decoder_attention_heads=8,
        encoder_ffn_dim=2048, decoder_ffn_dim=2048, max_position_embeddings=512,
        activation_function="silu", pad_token_id=59_999, eos_token_id=0,
        decoder_start_token_id=59_999, forced_eos_token_id=0, scale_embedding=True,
    )  # fmt: skip
    return MarianMTModel(config)


def vit_base() -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    names = {number: f"class {number}" for number in range(1000)}
    return ViTForImageClassification(ViTConfig(id2label=names, num_labels=1000))


MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "ViT-B": (vit_base, "images"),
    "OPUS-MT": (opus_mt, "pairs"),
    "GPT-2 large": (gpt2_large, "text"),
    "Llama 1B": (llama_1b, "text"),
}


def write(name: str, place: Path) -> tuple[Path, Path]:
    """A checkpoint in bfloat16 with its tokenizer, and data for it: (folder, data)."""
    import torch

    build, kind = MODELS[name]
    torch.manual_seed(0)
    folder = place / "model"
    model = build()
    model.to(torch.bfloat16).save_pretrained(folder)
    if kind == "images":
        return folder, _images(place / "images")
    _tokenizer().save_pretrained(folder)
    data = place / f"{kind}.txt"
    lines = [" ".join(WORDS[(n * k) % len(WORDS)] for k in range(1, 30)) for n in range(1, 400)]
    joined = "\n\n".join(lines) if kind == "text" else "\n".join(f"{a}\t{a[:40]}" for a in lines)
    data.write_text(joined, "utf-8")
    return folder, data


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {token: number for number, token in enumerate(["</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )


def _images(place: Path) -> Path:
    import numpy as np
    from PIL import Image

    for number in range(3):
        (place / f"class {number}").mkdir(parents=True)
        for each in range(12):
            pixels = np.random.default_rng(100 * number + each).integers(0, 256, (256, 256, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"class {number}" / f"{each}.png")
    return place


def walk(folder: Path, data: Path, place: Path) -> dict[str, Any]:
    """Seconds of each step, peak memory, parameters and bytes, in this process."""
    import ffmerge_core as fm

    seconds: dict[str, float] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        done = work()
        seconds[name] = time.perf_counter() - start
        return done

    model = step("open", lambda: fm.load(folder, task=data))
    feats = step("calibrate", lambda: fm.calibrate(model, TOKENS))
    stack = model.stacks[0]
    step("similarity", lambda: fm.similarity_matrix(feats, stack=stack))
    names = [each.name for each in model.sublayers if each.stack == stack]
    group = tuple(names[len(names) // 3 : len(names) // 3 + 3])
    merged = step("merge", lambda: fm.apply(model, fm.MergePlan((group,)), feats))
    step("score", lambda: fm.evaluate(merged))
    saved = step("save", lambda: fm.save(merged, place / "merged"))
    again = step("open again", lambda: fm.load(saved.folder, task=data))
    assert again.n_parameters == merged.n_parameters
    return {
        "seconds": seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "parameters": model.n_parameters,
        "bytes": {"checkpoint": _bytes(folder), "merged": saved.n_bytes},
    }


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def main() -> None:
    if len(sys.argv) == 4 and Path(sys.argv[1]).is_dir():
        print(json.dumps(walk(*map(Path, sys.argv[1:4]))))
        return
    for name in sys.argv[1:] or MODELS:
        with tempfile.TemporaryDirectory() as place:
            folder, data = write(name, Path(place))
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.real_sizes", folder, data, place],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        if done.returncode:
            print(f"{name}: failed\n{done.stderr[-2000:]}", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in found["seconds"].items())
        gigabytes = {what: f"{n / 1e9:.2f} GB" for what, n in found["bytes"].items()}
        print(
            f"{name}, {found['parameters']:,} parameters: {steps}; peak memory "
            f"{found['peak'] / 1e9:.1f} GB; checkpoint {gigabytes['checkpoint']}, merged "
            f"{gigabytes['merged']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
