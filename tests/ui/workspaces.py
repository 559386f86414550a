"""A small model's sublayers, and models, that workspaces are tested on."""

from __future__ import annotations

from ffmerge_core.models.sublayers import FFSublayer, Slot
from pages._ui.state.subject import Opened

SUBLAYERS = [
    FFSublayer(
        name=f"encoder.{i}",
        attention=f"blocks.{i}.attn",
        w_in=Slot(f"blocks.{i}.mlp.fc1"),
        w_out=Slot(f"blocks.{i}.mlp.fc2"),
        d_model=64,
        d_ff=256 if i < 5 else 512,
        activation="gelu",
        n_parameters=33_088,
    )
    for i in range(6)
]
DEMO, ELSEWHERE = Opened("demo:vit-digits"), Opened("/models/elsewhere", "digits")
EARLY, LATE = ("encoder.0", "encoder.1"), ("encoder.2", "encoder.3", "encoder.4")
