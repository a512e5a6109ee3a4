"""What the benchmark listens to: sentences said by the demo voice, made once and kept.

Knows the sentences and who says them. Refuses to know ears.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moderation import audio
from moderation.hearing import Samples
from relay import flac

_MANDARIN = (
    "今天天气很好，我们一起去公园散步吧。",
    "请把这份文件发给张经理，谢谢。",
    "欢迎使用语音合成服务，您可以录制一段自己的声音。",
    "明天下午三点，我们在会议室讨论新的项目计划。",
    "这家餐厅的红烧肉非常好吃，价格也很便宜。",
    "昨天晚上下了一场大雨，路上的车都开得很慢。",
    "他从小就喜欢音乐，每天都要练习两个小时的钢琴。",
    "希望你能收到我的祝福，祝你生日快乐，身体健康。",
    "火车还有十分钟就要开了，请大家抓紧时间上车。",
    "我觉得这本书写得很有意思，你也可以看看。",
    "春天来了，院子里的花都开了，蝴蝶在花丛中飞来飞去，孩子们在草地上放风筝。",
    "请问去火车站应该怎么走？",
    "老师说明天要考试，所以今天晚上我得好好复习，不能再看电视了。",
    "我的手机没有电了，可以借用一下你的充电器吗？",
    "北京的冬天很冷，但是屋子里有暖气，非常舒服。",
    "医生建议他多喝水，少吃甜食，每天坚持运动半个小时，晚上早一点睡觉。",
    "周末我打算和朋友去爬山，你有没有兴趣一起去？",
    "公司决定从下个月开始，每个星期五下午可以在家工作。",
)
_ENGLISH = (
    "Good morning, this is a short message for everybody in the office.",
    "Please remember to bring your umbrella, because it may rain in the afternoon.",
    "The train to the airport leaves every twenty minutes from the second platform.",
    "I would like to invite you to my birthday party next Saturday evening.",
    "Thank you for your help, I could not have finished the work without you.",
    "My grandmother used to tell us stories by the fire when we were little children.",
)
SENTENCES = tuple(("zh", text) for text in _MANDARIN) + tuple(("en", text) for text in _ENGLISH)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A sentence as it was said, at the ear's rate."""

    language: str
    text: str
    samples: Samples


def clips(folder: Path) -> list[Clip]:
    """Every sentence, said by the voices in turn; those that `folder` lacks are made there."""
    paths = [folder / f"{number:02}.flac" for number in range(len(SENTENCES))]
    if not all(path.is_file() for path in paths):
        _make(paths)
    return [
        Clip(language, text, audio.read(path.read_bytes()))
        for (language, text), path in zip(SENTENCES, paths, strict=True)
    ]


def _make(paths: list[Path]) -> None:
    from synth.kokoro.voice import RATE, join, load, say

    loaded = load(None, threads=2)
    voices = sorted(loaded.styles)
    for number, ((_, text), path) in enumerate(zip(SENTENCES, paths, strict=True)):
        voice = voices[number % len(voices)]
        said = [say(loaded, piece, voice, 1.0) for piece in loaded.reader.pieces(text)]
        path.write_bytes(flac.write_flac(flac.Sound(join(said), RATE)))
