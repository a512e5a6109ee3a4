"""Reading: text in, Kokoro's phonemes out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.errors import BadRecord
from synth.kokoro.phonemes import LONGEST, Reader
from synth.kokoro.voice import _Loaded

Read = Callable[[str], str]


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("你好。", "ni↓xau↓."),
        ("Hello world!", "həlˈO wˈɜɹld!"),
        ("好 app！", "xau↓ ˈæp!"),
        ("她[h][ào]干净", "tʰa→ xau↘ ka→nʨi↘ŋ"),
        ("她[h][ǎo]干净", "tʰa→ xau↓ ka→nʨi↘ŋ"),
        ("[ài]你", "ai↘ ni↓"),
        ("[M][IH1][N][IH0][T]", "mˈɪnɪt"),
        ("好[breath]吗", "xau↓, ma"),
        ("好[laughter]<strong>吗</strong>", "xau↓ ma"),
        ("the apple, the dog", "ði ˈæpᵊl, ðə dˈɔɡ"),
        ("U.S.A.", "jˈuˈɛsˈA"),
        ("Mr. Smith", "mˈɪstəɹ smˈɪθ"),
        ("café", "kæfˈA"),
        ("１２个", "ʂɨ↗ɚ↘kɤ↘"),
        ("好😀吗", "xau↓ ma"),
        ("好。\n15", "xau↓. ʂɨ↗u↓"),
        ("Good.\n15", "ɡˈʊd. fˌɪftˈin"),
        ("THE DOG IS", "ðə dˈɔɡ ɪz"),
        ("naïve bøok", "nɑˈiv bˈʊk"),
        ("看 voxrelay.com", "kʰa↘n vˈɑksɹˌilˌA tjɛ↓n kˈɑm"),
    ],
)
def test_reads(read: Read, text: str, phonemes: str) -> None:
    assert read(text) == phonemes


@pytest.mark.parametrize(
    ("word", "ending"),
    [("cats", "s"), ("dogs", "z"), ("boxes", "ᵻz"), ("voxed", "t"), ("gnarlier", "əɹ")],
)
def test_endings_follow_the_sound_before_them(read: Read, word: str, ending: str) -> None:
    assert read(word).endswith(ending)


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("XQZ", "ˈɛkskjˈuzˈi"),
        ("zzxq", "zˈizˈiˈɛkskjˈu"),
        ("applepie", "ˈæpᵊlpˌI"),
        ("ChatGPT", "ʧˈæt ʤˈipˈitˈi"),
        ("studied", "stˈʌdid"),
        ("children's", "ʧˈɪldɹᵊnz"),
        ("5G", "fˈIv ʤˈi"),
    ],
)
def test_a_word_that_nobody_knows_is_taken_apart_or_spelled(
    read: Read, word: str, phonemes: str
) -> None:
    assert read(word) == phonemes


@pytest.mark.parametrize("text", ["", "。。。", " \n ", "😀", "[breath]", "——"])
def test_nothing_to_say_is_refused(reader: Reader, text: str) -> None:
    with pytest.raises(BadRecord) as refused:
        reader.pieces(text)
    assert refused.value.code == "text_empty"


@pytest.mark.parametrize(
    "text", ["привет", "こんにちは", "[q][zz]吗", "[ZZ][QQ]", "안녕", "\U00020001"]
)
def test_what_has_no_sound_here_is_refused_not_left_out(reader: Reader, text: str) -> None:
    with pytest.raises(BadRecord) as refused:
        reader.pieces(text)
    assert refused.value.code == "text_unreadable"
    assert text.strip("吗") not in refused.value.message


def test_the_user_is_told_which_script_it_is_not_what_was_written(reader: Reader) -> None:
    with pytest.raises(BadRecord) as refused:
        reader.pieces("Скажи это")
    assert "Cyrillic" in refused.value.message
    assert refused.value.message.isascii()


@pytest.mark.parametrize(
    "text", ["他说，" * 2000, "好" * 3000, "word " * 2000, "a" * 3000, "你好。" * 1600]
)
def test_long_text_is_cut_and_nothing_is_lost(reader: Reader, text: str) -> None:
    pieces = reader.pieces(text)
    assert max(map(len, pieces)) <= LONGEST
    whole = reader.phonemes(text)
    keep = "".join(c for c in whole if c.isalpha())
    assert "".join(c for piece in pieces for c in piece if c.isalpha()) == keep


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(alphabet="你好吗天 aTh.,!?，。；“”（）3%[]<>|'-…\n😀", max_size=60))
def test_any_text_is_read_within_the_vocabulary_or_refused(loaded: _Loaded, text: str) -> None:
    pieces: list[str] = []
    with contextlib.suppress(BadRecord):
        pieces = loaded.reader.pieces(text)
    for piece in pieces:
        assert 0 < len(piece) <= LONGEST
        assert set(piece) <= set(loaded.vocabulary)


def test_every_syllable_of_pinyin_has_a_sound(loaded: _Loaded) -> None:
    from pypinyin.constants import PINYIN_DICT

    syllables = {s for readings in PINYIN_DICT.values() for s in readings.split(",")}
    for syllable in syllables:
        sound = loaded.reader._pinyin(syllable)
        assert sound, syllable
        assert set(sound) <= set(loaded.vocabulary), syllable
