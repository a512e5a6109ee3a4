"""Weights are found where they are said to be, and refused where they are something else."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation import ct2, weights
from relay.errors import Misconfigured, Unavailable

DIMENSIONS = whisper.ModelDimensions(
    n_mels=80, n_audio_ctx=8, n_audio_state=64, n_audio_head=1, n_audio_layer=1,
    n_vocab=60, n_text_ctx=6, n_text_state=64, n_text_head=1, n_text_layer=2,
)  # fmt: skip


def small_model() -> whisper.Whisper:
    """A Whisper of two decoder layers with weights that float16 holds exactly."""
    generator = torch.Generator().manual_seed(7)
    model = whisper.Whisper(DIMENSIONS)
    state = {
        name: torch.randn(value.shape, generator=generator).half().float()
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


def container(model: whisper.Whisper, spec: str = "WhisperSpec") -> bytes:
    """The model in the container's layout, written from its description alone."""
    state = model.state_dict()
    variables: dict[str, torch.Tensor] = {}

    def norm(name: str, ours: str) -> None:
        variables[f"{name}/gamma"] = state[f"{ours}.weight"]
        variables[f"{name}/beta"] = state[f"{ours}.bias"]

    def stacked(name: str, ours: str, parts: tuple[str, ...]) -> None:
        zero = torch.zeros(64)
        variables[f"{name}/weight"] = torch.cat([state[f"{ours}.{p}.weight"] for p in parts])
        biases = [state.get(f"{ours}.{part}.bias", zero) for part in parts]
        variables[f"{name}/bias"] = torch.cat(biases)

    for side, layers, last in (("encoder", 1, "ln_post"), ("decoder", 2, "ln")):
        variables[f"{side}/position_encodings/encodings"] = state[f"{side}.positional_embedding"]
        norm(f"{side}/layer_norm", f"{side}.{last}")
        for number in range(layers):
            theirs, ours = f"{side}/layer_{number}", f"{side}.blocks.{number}"
            norm(f"{theirs}/ffn/layer_norm", f"{ours}.mlp_ln")
            stacked(f"{theirs}/ffn/linear_0", f"{ours}.mlp", ("0",))
            stacked(f"{theirs}/ffn/linear_1", f"{ours}.mlp", ("2",))
            norm(f"{theirs}/self_attention/layer_norm", f"{ours}.attn_ln")
            stacked(f"{theirs}/self_attention/linear_0", f"{ours}.attn", ("query", "key", "value"))
            stacked(f"{theirs}/self_attention/linear_1", f"{ours}.attn", ("out",))
            if side == "decoder":
                norm(f"{theirs}/attention/layer_norm", f"{ours}.cross_attn_ln")
                stacked(f"{theirs}/attention/linear_0", f"{ours}.cross_attn", ("query",))
                stacked(f"{theirs}/attention/linear_1", f"{ours}.cross_attn", ("key", "value"))
                stacked(f"{theirs}/attention/linear_2", f"{ours}.cross_attn", ("out",))
    variables["decoder/embeddings/weight"] = state["decoder.token_embedding.weight"]
    for conv in ("conv1", "conv2"):
        stacked(f"encoder/{conv}", "encoder", (conv,))
    return _written(variables, spec)


def _written(variables: dict[str, torch.Tensor], spec: str) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", 6), text(spec), struct.pack("<II", 3, len(variables) + 1)]
    parts += [text("decoder/num_heads"), struct.pack("<BBIh", 0, 2, 2, 1)]
    for name, value in variables.items():
        raw = value.numpy().astype("<f2").tobytes()
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        parts += [text(name), shape, struct.pack("<BI", 4, len(raw)), raw]
    return b"".join([*parts, struct.pack("<I", 0)])


MODEL = small_model()
FILE = container(MODEL)


def test_every_weight_comes_back_in_its_place() -> None:
    loaded = ct2.to_model(ct2.read_arrays(FILE)).state_dict()
    assert loaded.keys() == MODEL.state_dict().keys()
    for name, value in MODEL.state_dict().items():
        np.testing.assert_array_equal(loaded[name].numpy(), value.numpy(), err_msg=name)


@settings(max_examples=40)
@given(st.integers(0, len(FILE) - 5))
def test_a_file_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ct2.LayoutError):
        ct2.to_model(ct2.read_arrays(FILE[:length]))


def test_another_model_is_refused() -> None:
    with pytest.raises(ct2.LayoutError, match="is not Whisper"):
        ct2.read_arrays(container(MODEL, spec="TransformerSpec"))


def test_a_variable_without_a_place_is_refused() -> None:
    arrays = ct2.read_arrays(FILE)
    stranger = {**arrays, "decoder/layer_0/adapter/weight": arrays["decoder/layer_norm/gamma"]}
    with pytest.raises(ct2.LayoutError, match="adapter"):
        ct2.to_model(stranger)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "decoder",
        "decoder/",
        "decoder/layer_0/attention/linear_9/bias",
        "encoder/conv3/bias",
        "decoder/layer_norm/delta",
    ],
)
def test_a_name_unlike_any_of_ours_is_refused(name: str) -> None:
    arrays = ct2.read_arrays(FILE)
    with pytest.raises(ct2.LayoutError):
        ct2.to_model({**arrays, name: arrays["decoder/layer_norm/gamma"]})


def test_a_missing_variable_is_refused() -> None:
    arrays = ct2.read_arrays(FILE)
    del arrays["encoder/layer_0/ffn/linear_1/bias"]
    with pytest.raises(ct2.LayoutError, match=r"mlp\.2\.bias"):
        ct2.to_model(arrays)


def test_our_pins_are_openai_whispers_own() -> None:
    for weight in weights.WEIGHTS:
        (source,) = (source for source in weight.sources if source.kind == "checkpoint")
        digest, file = whisper._MODELS[weight.name].split("/")[-2:]
        assert (source.sha256, source.file) == (digest, file)


def test_a_checkpoint_of_the_operators_own_is_taken_by_path(tmp_path: Path) -> None:
    file = tmp_path / "own.pt"
    state = {"dims": vars(DIMENSIONS), "model_state_dict": MODEL.state_dict()}
    torch.save(state, file)
    loaded = weights.load(str(file))
    assert loaded.name == "own"
    assert torch.equal(loaded.model.encoder.conv1.bias, MODEL.encoder.conv1.bias)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize(
    "content", [b"", b"text", pickle.dumps({"dims": 1}, 2), pickle.dumps(Bomb(), 2)]
)
def test_a_checkpoint_that_is_none_is_refused_and_never_run(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "bomb.pt"
    file.write_bytes(content)
    with pytest.raises(Misconfigured, match=r"bomb\.pt"):
        weights.load(str(file))
    assert not (tmp_path / "exploded").exists()


def test_a_file_of_the_right_name_and_other_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base.pt").write_bytes(b"something else")
    with pytest.raises(Misconfigured, match="SHA-256"):
        weights.load("base", folder=tmp_path)


def test_a_name_that_is_none_lists_those_that_are() -> None:
    with pytest.raises(Misconfigured, match="large-v3"):
        weights.load("huge")


def test_with_a_folder_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*args: object, **kwargs: object) -> None:
        raise AssertionError("downloaded")

    monkeypatch.setattr(whisper, "load_model", download)
    with pytest.raises(Misconfigured, match=r"small\.pt"):
        weights.load("small", folder=tmp_path)


def test_a_download_that_fails_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*args: object, **kwargs: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(whisper, "load_model", download)
    with pytest.raises(Unavailable, match=r"small\.pt"):
        weights.load("small")


def test_what_is_missing_is_told_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "_PARTS", ("no_such_package_1", "no_such_package_2"))
    source = weights.missing("base")
    assert source is not None
    assert (source.file, source.bytes) == ("base.pt", 145_262_807)
    (tmp_path / "whisper").mkdir()
    (tmp_path / "whisper" / "base.pt").touch()
    assert weights.missing("base") is None
    assert weights.missing("turbo", folder=tmp_path) is None, "with a folder nothing is downloaded"
