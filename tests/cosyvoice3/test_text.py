"""Text as users write it: normalised, marked, split, and nothing of it lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.cosyvoice3 import catalogue, marks, text
from synth.cosyvoice3.catalogue import Kind
from synth.cosyvoice3.errors import BadModel, Refused
from synth.cosyvoice3.frontend import Frontend
from synth.cosyvoice3.request import Mode, Request
from synth.cosyvoice3.tokenizer import Tokenizer
from tests.cosyvoice3.conftest import recording


@pytest.fixture(scope="module")
def normalise() -> text.Normaliser:
    return text.Normaliser()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("今天是2024年3月5日，气温25.5℃", "今天是二零二四年三月五日，气温二十五点五摄氏度。"),
        ("她[h][ào]干净", "她[h][ào]干净。"),
        ("她[hào]干净，[ji3]予好评", "她[h][ào]干净，[j][ǐ]予好评。"),
        ("报道[j][ǐ]予好评！", "报道[j][ǐ]予好评！"),
        ("say [HH][AH0] please", "say [HH][AH0] please."),
        ("他[breath]说了 <strong>2</strong> 次", "他[breath]说了<strong>二</strong>次。"),
        ("I paid $300 [laughter] twice", "I paid three hundred dollars [laughter] twice."),
        ("见注[注1]", "见注注一。"),
        ("as he said [sic]", "as he said sic."),
        ("レキシ テキ セカイ", "レキシ テキ セカイ."),
    ],
)
def test_normalised(normalise: text.Normaliser, written: str, read: str) -> None:
    assert normalise(written) == read


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("", "text_empty"),
        ("。，！ …", "text_empty"),
        ("读[hoa4]", "text_unreadable"),
        ("读[AH7]", "text_unreadable"),
        ("读[hòa]", "text_unreadable"),
        ("你好<|endofprompt|>再见", "text_unreadable"),
    ],
)
def test_refused(normalise: text.Normaliser, written: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        normalise(written)
    assert refused.value.code == code


_ALPHABET = st.sampled_from(
    [*'好的你我，。！？；、.,!? \n"”a1b', "[breath]", "[h][ào]", "word ", "3.14"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_ALPHABET, max_size=400).map("".join))
def test_splitting_loses_nothing(whole: str) -> None:
    pieces = text.split(whole, lambda part: len(part.split()))
    assert "".join(pieces) == whole
    for piece in pieces:
        assert piece.count("[") == piece.count("]")
        assert text.units(piece) <= 300


def test_pieces_are_near_eighty() -> None:
    sentence = "这是一个不长也不短的句子。"
    sizes = [len(piece) for piece in text.split(sentence * 40)]
    assert all(60 <= size <= 100 for size in sizes[:-1])
    assert [len(piece) for piece in text.split("字" * 250)] == [80, 80, 90]
    assert text.split("短。") == ["短。"]


def test_every_syllable_of_mandarin_can_be_marked() -> None:
    for syllable in ("hao4", "zhong1", "nü3", "lv4", "xiong2", "er2", "yuan2", "guai4", "chi1"):
        assert marks.spell(f"[{syllable}]"), syllable
    assert marks.spell("[hao]") == ["[h]", "[ao]"]
    assert marks.spell("[xyz1]") is None


def test_the_vocabulary_is_numbered_from_the_end_of_the_text(model: Path) -> None:
    assert len(marks.VOCABULARY) == len(set(marks.VOCABULARY)) == 278
    assert (marks.VOCABULARY[0], marks.VOCABULARY[-1]) == ("<|endofprompt|>", "[ǜ]")
    tokenizer = Tokenizer(model / "CosyVoice-BlankEN")
    first, *rest = tokenizer.encode("<|endofprompt|>[breath]the")
    assert rest == [first + 1, *tokenizer.encode("the")]
    assert tokenizer.size == first + 278
    said = "你好 the [h][ào] It's 5!\n"
    assert tokenizer.decode(tokenizer.encode(said)) == said


def test_merges_in_another_order_are_refused(model: Path, tmp_path: Path) -> None:
    folder = model / "CosyVoice-BlankEN"
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lines = (folder / "merges.txt").read_text("utf-8").splitlines()
    (tmp_path / "merges.txt").write_text("\n".join([lines[0], *reversed(lines[1:])]), "utf-8")
    with pytest.raises(BadModel, match="number their words differently"):
        Tokenizer(tmp_path)


def test_the_catalogue_is_complete_and_findable() -> None:
    kinds = Counter(entry.kind for entry in catalogue.CATALOGUE)
    assert kinds[Kind.DIALECT] == 17
    assert {Kind.EMOTION, Kind.SPEED, Kind.VOLUME} < set(kinds)
    for entry in catalogue.CATALOGUE:
        assert catalogue.find(entry.name) is entry is catalogue.find(entry.chinese)
    assert catalogue.words("广东") == "请用广东话表达。"
    assert catalogue.words("像老师一样说") == "像老师一样说。"
    with pytest.raises(Refused):
        catalogue.words("x<|endofprompt|>y")


@pytest.mark.parametrize(
    ("mode", "instruct", "before", "continues"),
    [
        (Mode.ZERO_SHOT, None, "You are a helpful assistant.<|endofprompt|>希望你", True),
        (Mode.CROSS_LINGUAL, None, "You are a helpful assistant.<|endofprompt|>", False),
        (
            Mode.INSTRUCT,
            "cantonese",
            "You are a helpful assistant. 请用广东话表达。<|endofprompt|>",
            False,
        ),
    ],
)
def test_each_mode_keeps_its_convention(
    model: Path, mode: Mode, instruct: str | None, before: str, continues: bool
) -> None:
    frontend = Frontend(model)
    prepared = frontend.prepare(Request("你好", recording(), mode, instruct))
    (piece,) = prepared.pieces
    assert frontend.tokenizer.decode(list(piece.ids)) == before + "你好。"
    spoken = len(frontend.tokenizer.encode("你好。"))
    assert (piece.least, piece.most) == (2 * spoken, 20 * spoken)
    assert prepared.continues is continues


def test_without_a_transcript_only_the_voice_is_taken(model: Path) -> None:
    prepared = Frontend(model).prepare(Request("你好", recording(transcript=" ")))
    assert not prepared.continues
