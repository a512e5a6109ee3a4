"""Features of a recording: computed once, kept by its hash, carried elsewhere and back."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from synth.cosyvoice3 import BadModel, Recording, Refused
from synth.cosyvoice3.prompt import PromptEncoder
from tests.cosyvoice3.conftest import recording


def test_once_per_recording_and_forgotten_in_turn(model: Path) -> None:
    encoder = PromptEncoder(model, kept=2)
    first = encoder.encode(recording(seed=1))
    assert encoder.encode(recording(seed=1, transcript="another")) is first
    for seed in (2, 3):
        encoder.encode(recording(seed=seed))
    encoder.encode(recording(seed=1))
    assert encoder.computed == 4


def test_features_go_elsewhere_and_come_back(model: Path) -> None:
    mine, other = PromptEncoder(model), PromptEncoder(model)
    prompt = mine.encode(recording())
    data = mine.fresh(recording())
    assert data is not None
    assert mine.fresh(recording()) is None
    other.remember(recording(), b"no features")
    assert not other.known(recording())
    other.remember(recording(), data)
    assert other.known(recording())
    again = other.encode(recording())
    assert other.computed == 0
    assert torch.equal(again.tokens, prompt.tokens)
    assert torch.equal(again.mel, prompt.mel)
    assert torch.equal(again.speaker, prompt.speaker)


def test_two_frames_a_token_and_25_tokens_a_second(model: Path) -> None:
    prompt = PromptEncoder(model).encode(recording(3.0))
    assert len(prompt.tokens) == 75
    assert prompt.mel.shape == (150, 80)
    assert prompt.speaker.shape == (192,)


def test_another_voice_gives_other_features(model: Path) -> None:
    encoder = PromptEncoder(model)
    a, b = encoder.encode(recording(seed=1)), encoder.encode(recording(seed=2))
    assert not torch.equal(a.tokens, b.tokens)
    assert not torch.allclose(a.speaker, b.speaker)


def test_other_rates_are_resampled(model: Path) -> None:
    at = np.arange(48_000 * 2) / 48_000
    wide = Recording((0.3 * np.sin(880 * at)).astype(np.float32), 48_000)
    assert len(PromptEncoder(model).encode(wide).tokens) == 50


def test_a_file_is_read_whatever_its_channels(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    left = (8000 * np.sin(np.arange(22_050 * 2) / 20)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.writeframes(np.stack((left, left), 1).tobytes())
    read = Recording.read(path, "said")
    assert (read.rate, read.transcript) == (22_050, "said")
    assert read.seconds == pytest.approx(2.0)
    assert np.abs(read.samples - left / 32768).max() < 1e-3
    (tmp_path / "no.wav").write_bytes(b"RIFF no sound at all")
    with pytest.raises(Refused) as refused:
        Recording.read(tmp_path / "no.wav")
    assert refused.value.code == "prompt_unusable"


def test_a_broken_network_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "campplus.onnx").write_bytes(b"not onnx")
    with pytest.raises(BadModel, match=r"campplus\.onnx"):
        PromptEncoder(tmp_path)
