"""CosyVoice3: a text and a few seconds of a voice in, speech in that voice out.

engine = Engine.load("model")
async for chunk in engine.speak(Request("你好。", Recording.read("me.wav"))):
    ...
"""

from .catalogue import CATALOGUE, Instruction, Kind
from .engine import Engine
from .errors import BadModel, EngineError, Exhausted, Refused, Stopped
from .recording import Recording
from .request import Mode, Request
from .settings import Settings

__all__ = [
    "CATALOGUE",
    "BadModel",
    "Engine",
    "EngineError",
    "Exhausted",
    "Instruction",
    "Kind",
    "Mode",
    "Recording",
    "Refused",
    "Request",
    "Settings",
    "Stopped",
]
