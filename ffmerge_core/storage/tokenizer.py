"""Writing a tokenizer beside its model, so that transformers 4 reads it as well as 5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_CONFIG = "tokenizer_config.json"
# What transformers 5 calls the class that is all in tokenizer.json, and what both versions do.
_NEW, _BOTH = "TokenizersBackend", "PreTrainedTokenizerFast"


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """As its `save_pretrained`, under a class name that transformers 4 knows too."""
    tokenizer.save_pretrained(folder)
    path = folder / _CONFIG
    values = json.loads(path.read_text("utf-8"))
    if values.get("tokenizer_class") == _NEW:
        values["tokenizer_class"] = _BOTH
        path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
