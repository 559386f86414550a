#!/usr/bin/env bash
# transformers 5.23.0: a T5 with fewer encoder layers than decoder layers cannot generate with its
# cache. The cache is laid out by num_layers, which T5's configuration counts in the encoder, and
# the decoder asks it for a layer that it does not have: IndexError. The other way round, and
# without the cache, all is well. So dropping layers of a T5 evenly is safe, and dropping more of the
# encoder than of the decoder leaves a model that trains and scores and then cannot write.
# Seen: layers 3 and 3, 3 and 1 generate either way; 1 and 3 only with use_cache=False.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
    "torch==2.13.0" "transformers==5.23.0" "numpy==2.4.6"
"$place/venv/bin/python" - <<'PYTHON'
import torch
import transformers
from transformers import T5Config, T5ForConditionalGeneration

print("transformers", transformers.__version__, "torch", torch.__version__)
seen = {}
for encoder, decoder in ((3, 3), (3, 1), (1, 3)):
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=40, d_model=32, d_kv=8, d_ff=48, num_heads=4, num_layers=encoder,
        num_decoder_layers=decoder, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )
    model = T5ForConditionalGeneration(config).eval()
    ids = torch.randint(2, 40, (2, 6))
    for cache in (False, True):
        try:
            model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=4,
                do_sample=False, use_cache=cache,
            )
            seen[encoder, decoder, cache] = "written"
        except IndexError:
            seen[encoder, decoder, cache] = "IndexError"
        print(f"encoder {encoder}, decoder {decoder}, cache {cache}:", seen[encoder, decoder, cache])
assert seen.pop((1, 3, True)) == "IndexError", "it writes now"
assert set(seen.values()) == {"written"}, seen
print("as found")
PYTHON
