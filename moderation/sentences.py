"""What a user is told when a rule fires: by code, in Chinese and in English.

Knows words only. A sentence says what is wrong and what its reader can do; it never repeats what
somebody said. Refuses to know when a rule fires.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing said twice."""

    zh: str
    en: str

    def told(self) -> str:
        """Both languages in one line: the event's reader is not known yet."""
        return f"{self.zh} / {self.en}"


SENTENCES: dict[str, Sentence] = {
    "recording_too_quiet": Sentence(
        "录音音量太小。请靠近麦克风重新录制。",
        "The recording is too quiet. Please come closer to the microphone and record again.",
    ),
    "recording_noise": Sentence(
        "录音中只有持续的噪音。请在安静的地方重新录制。",
        "The recording holds nothing but steady noise. Please record again in a quiet place.",
    ),
    "recording_clipped": Sentence(
        "录音音量过大而失真。请离麦克风远一些重新录制。",
        "The recording is distorted because it is too loud. Please record farther from the "
        "microphone.",
    ),
    "recording_no_speech": Sentence(
        "录音中没有听到说话声。请朗读一句话重新录制。",
        "Nobody is heard speaking in the recording. Please record a spoken sentence.",
    ),
    "recording_unclear": Sentence(
        "录音听不清楚。请在安静的地方清晰地重新录制。",
        "The recording cannot be made out. Please speak clearly, in a quiet place, and try again.",
    ),
    "recording_language": Sentence(
        "录音的语言与所填写的不符，或不受支持。请更正语言或不填写。",
        "The recording is not in the language given, or in none we take. Please correct the "
        "language or leave it out.",
    ),
    "text_not_allowed": Sentence(
        "文字中含有不允许的内容。请修改后重试。",
        "The text says something that is not allowed here. Please change it and try again.",
    ),
    "instruct_not_allowed": Sentence(
        "指令中含有不允许的内容。请修改后重试。",
        "The instruction says something that is not allowed here. Please change it and try again.",
    ),
    "recording_not_allowed": Sentence(
        "录音中说了不允许的内容。请重新录制。",
        "Something that is not allowed here is said in the recording. Please record another.",
    ),
    "review_rejected": Sentence(
        "人工审核未通过。请修改文字或录音后重试。",
        "A reviewer did not let this through. Please change the text or the recording.",
    ),
}
