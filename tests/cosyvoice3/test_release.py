"""The released folder: what is missing, wrong or not read is said; what is pulled is checked."""

from __future__ import annotations

import math
import shutil
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from synth.cosyvoice3 import BadModel, Engine, Settings, checkpoint, hubs, layout, release
from synth.cosyvoice3.dims import FlowDims, LMDims
from synth.cosyvoice3.release import Listed, Status


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    return copy


def by_file(folder: Path) -> dict[str, release.Finding]:
    return {finding.file: finding for finding in release.check(folder)}


def test_a_whole_folder_is_good(folder: Path) -> None:
    findings = release.check(folder)
    assert release.good(findings)
    assert {f.file for f in findings if f.status is Status.READ} == set(release.WANTED)


def test_what_is_not_read_is_said_and_why(folder: Path) -> None:
    (folder / "llm.rl.pt").write_bytes(b"")
    (folder / "odd.bin").write_bytes(b"")
    found = by_file(folder)
    assert found["llm.rl.pt"].status is Status.NOT_READ
    assert "reinforcement" in found["llm.rl.pt"].why
    assert found["odd.bin"].why == "nothing here needs it"
    assert release.good(release.check(folder))


def test_missing_and_misshapen_files_are_named(folder: Path) -> None:
    (folder / "campplus.onnx").unlink()
    (folder / "flow.pt").unlink()
    state = torch.load(folder / "hift.pt", weights_only=True)
    state["conv_post.bias"] = torch.zeros(3)
    torch.save(state, folder / "hift.pt")
    (folder / "CosyVoice-BlankEN" / "vocab.json").write_text("{")
    found = by_file(folder)
    assert found["campplus.onnx"].status is Status.MISSING
    assert found["flow.pt"].status is Status.MISSING
    assert found["hift.pt"].status is Status.WRONG
    assert "conv_post.bias is (3,), not (18,)" in found["hift.pt"].why
    assert found["CosyVoice-BlankEN"].status is Status.WRONG
    assert not release.good(release.check(folder))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"num_attention_heads": 0}'])
@pytest.mark.parametrize("name", [*release.TEXT_FILES[:2], release.TEXT_FILES[3], *release.ONNX])
def test_a_file_of_nonsense_is_named_and_never_loaded(
    folder: Path, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    assert not release.good(release.check(folder))
    with pytest.raises(BadModel):
        Engine.load(folder, Settings(device="cpu"))


def test_a_tensor_of_too_few_dimensions_is_named(folder: Path) -> None:
    state = torch.load(folder / "flow.pt", weights_only=True)
    state["decoder.estimator.input_embed.conv_pos_embed.conv1.0.weight"] = torch.zeros(32)
    torch.save(state, folder / "flow.pt")
    assert by_file(folder)["flow.pt"].status is Status.WRONG
    with pytest.raises(BadModel):
        Engine.load(folder, Settings(device="cpu"))


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    """More ids than rows would end the engine at the first such word, not at its start."""
    state = torch.load(folder / "llm.pt", weights_only=True)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[f"llm.model.{name}"] = torch.zeros(100, 32)
    torch.save(state, folder / "llm.pt")
    with pytest.raises(BadModel, match="the language model 100 rows"):
        Engine.load(folder, Settings(device="cpu"))
    assert "100 rows" in by_file(folder)[release.TEXT].why


def test_a_manifest_of_nonsense_is_named(folder: Path) -> None:
    for content in ("[]", '{"llm.pt": 3}', '{"llm.pt": {}}'):
        (folder / release.MANIFEST).write_text(content)
        assert by_file(folder)[release.MANIFEST].status is Status.WRONG


def test_the_folder_of_another_generation_is_refused(folder: Path) -> None:
    (folder / "speech_tokenizer_v3.onnx").rename(folder / "speech_tokenizer_v2.onnx")
    with pytest.raises(BadModel, match="another generation"):
        Engine.load(folder, Settings(device="cpu"))
    assert "another generation" in by_file(folder)["speech_tokenizer_v3.onnx"].why


def test_safetensors_speak_the_same(folder: Path) -> None:
    before = checkpoint.load_flow(folder).state_dict()
    save_file(torch.load(folder / "flow.pt", weights_only=True), folder / "flow.safetensors")
    (folder / "flow.pt").unlink()
    after = checkpoint.load_flow(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert by_file(folder)["flow.safetensors"].status is Status.READ


def test_the_released_sizes_are_known_tensor_by_tensor() -> None:
    def shaped(shapes: dict[str, layout.Shape]) -> dict[str, types.SimpleNamespace]:
        return {name: types.SimpleNamespace(shape=shape) for name, shape in shapes.items()}

    language = layout.llm(layout.RELEASED_LM)
    config = {"num_attention_heads": 14, "num_key_value_heads": 2, "rope_theta": 1e6}
    assert LMDims.of(shaped(language), config) == layout.RELEASED_LM
    assert FlowDims.of(shaped(layout.flow(layout.RELEASED_FLOW))) == layout.RELEASED_FLOW
    spoken = [shape for name, shape in language.items() if "lm_head" not in name]
    assert sum(map(math.prod, spoken)) == pytest.approx(506e6, rel=0.01)


class FakeHub:
    """A hub whose files are a folder's; it may break off after some of them."""

    def __init__(self, source: Path, breaks_after: int = 99) -> None:
        self.source, self.left, self.brought = source, breaks_after, list[str]()

    def files(self) -> Sequence[Listed]:
        paths = [p for p in self.source.rglob("*") if p.is_file()]
        return [
            Listed(p.relative_to(self.source).as_posix(), p.stat().st_size, release.sha256(p))
            for p in paths
        ]

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        for path in paths:
            if not self.left:
                raise ConnectionError("the line is cut")
            self.left -= 1
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.source / path, folder / path)
            self.brought.append(path)


def test_pull_goes_on_where_it_was_cut_off(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "pulled"
    with pytest.raises(ConnectionError):
        release.pull(FakeHub(folder, breaks_after=4), to)
    again = FakeHub(folder)
    assert release.good(release.pull(again, to))
    assert len(again.brought) == len(release.WANTED) - 4
    quiet = FakeHub(folder)
    release.pull(quiet, to)
    assert quiet.brought == []


def test_pull_notices_what_came_broken(folder: Path, tmp_path: Path) -> None:
    class Breaks(FakeHub):
        def fetch(self, paths: Sequence[str], folder: Path) -> None:
            super().fetch(paths, folder)
            (folder / "llm.pt").write_bytes(b"cut short")

    with pytest.raises(BadModel, match=r"not what the hub says it has: llm\.pt"):
        release.pull(Breaks(folder), tmp_path / "pulled")
    (folder / "hift.pt").unlink()
    with pytest.raises(BadModel, match=r"does not carry hift\.pt"):
        release.pull(FakeHub(folder), tmp_path / "pulled")


def test_a_file_changed_after_the_pull_is_noticed(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "pulled"
    release.pull(FakeHub(folder), to)
    with (to / "campplus.onnx").open("ab") as file:
        file.write(b"x")
    assert not release.good(release.check(to))


def test_a_hub_without_its_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BadModel, match="install its client: huggingface-hub"):
        hubs.named("huggingface")
    with pytest.raises(BadModel, match="there is no hub"):
        hubs.named("elsewhere")


def test_hugging_face_is_asked_for_the_revision_that_was_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[str, dict[str, object]]] = []
    sibling = types.SimpleNamespace(rfilename="llm.pt", size=3, lfs=None)
    info = types.SimpleNamespace(sha="abc", siblings=[sibling])
    client = types.SimpleNamespace(
        HfApi=lambda: types.SimpleNamespace(model_info=lambda *_, **__: info),
        snapshot_download=lambda name, **how: calls.append((name, how)),
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    hub = hubs.named("huggingface")
    assert hub.files() == [Listed("llm.pt", 3)]
    hub.fetch(["llm.pt"], tmp_path)
    ((name, how),) = calls
    assert name == release.RELEASE
    assert (how["revision"], how["allow_patterns"]) == ("abc", ["llm.pt"])


def test_modelscope_is_asked_for_hashes_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[tuple[str, ...], dict[str, object]]] = []
    told = types.SimpleNamespace(path="llm.pt", size=3, sha256="abc")
    api = types.SimpleNamespace(
        list_repo_files=lambda *_, **__: [told],
        download_repo=lambda *names, **how: calls.append((names, how)),
    )
    client = types.SimpleNamespace(HubApi=lambda: api)
    monkeypatch.setitem(sys.modules, "modelscope_hub", client)
    hub = hubs.named("modelscope")
    assert hub.files() == [Listed("llm.pt", 3, "abc")]
    hub.fetch([], tmp_path)
    hub.fetch(["llm.pt"], tmp_path)
    ((names, how),) = calls
    assert names == (release.RELEASE, "model")
    assert (how["revision"], how["allow_patterns"]) == ("master", ["llm.pt"])


@pytest.mark.parametrize(
    ("name", "module", "api"),
    [
        ("huggingface", "huggingface_hub", "HfApi"),
        ("modelscope", "modelscope_hub", "HubApi"),
    ],
)
def test_a_hub_that_cannot_be_reached_is_said_with_what_to_do(
    name: str, module: str, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> None:
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{api: lost}))
    with pytest.raises(BadModel, match=r"no route.*call again.*another hub"):
        hubs.named(name).files()
