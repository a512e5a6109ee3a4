"""The networks agree with their authors' modules, and the comparison notices when they do not."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from synth.cosyvoice3 import checkpoint, verify
from synth.cosyvoice3.errors import BadModel


def test_every_golden_vector_is_met(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main(golden) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    kinds = {name.split("_")[0] for name in report["errors"]}
    assert kinds == {"lm", "flow", "hift", "features"}
    assert len(report["errors"]) == 17


def test_a_changed_weight_is_noticed(golden: Path, tmp_path: Path) -> None:
    for path in golden.iterdir():
        shutil.copy(path, tmp_path / path.name)
    weights = load_file(golden / "hift.safetensors")
    weights["conv_post.bias"] += 0.01
    save_file(weights, tmp_path / "hift.safetensors")
    errors = verify._hift(tmp_path, torch.device("cpu"))
    assert not verify.within(errors)
    assert verify.within({"hift_final_alone": 1e-6})
    assert not verify.within({"hift_final_alone": math.nan})


def test_a_missing_tensor_is_named(golden: Path, tmp_path: Path) -> None:
    weights = load_file(golden / "llm.safetensors")
    del weights["llm.model.model.layers.1.self_attn.k_proj.bias"]
    save_file(weights, tmp_path / "llm.safetensors")
    shutil.copy(golden / "config.json", tmp_path)
    with pytest.raises(BadModel, match=r"lacks blocks\.1\.qkv\.bias"):
        checkpoint.load_lm(tmp_path, 16)


def test_a_pickle_that_would_run_code_is_refused(golden: Path, tmp_path: Path) -> None:
    torch.save({"llm_decoder.weight": print}, tmp_path / "llm.pt")
    with pytest.raises(BadModel, match=r"llm\.pt cannot be read"):
        checkpoint.read_weights(tmp_path / "llm.pt")
