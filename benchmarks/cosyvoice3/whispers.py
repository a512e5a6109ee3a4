"""openai-whisper at released sizes: with weights of no meaning, or counted without any.

Apart from `count`, so that the engine can be counted and measured where Whisper is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from whisper.model import AudioEncoder, ModelDimensions, TextDecoder, Whisper
from whisper.tokenizer import get_tokenizer

from benchmarks.cosyvoice3.count import META, Cost, counted
from benchmarks.cosyvoice3.limits import PROMPT, Part


@dataclass(frozen=True)
class WhisperSize:
    """A released size of openai-whisper."""

    width: int
    heads: int
    layers: int
    decoder_layers: int
    mels: int = 80
    vocabulary: int = 51_865

    @property
    def audio(self) -> tuple[int, ...]:
        """What the encoder is made of."""
        return self.mels, 1500, self.width, self.heads, self.layers

    @property
    def text(self) -> tuple[int, ...]:
        """What the decoder is made of."""
        return self.vocabulary, 448, self.width, self.heads, self.decoder_layers


WHISPERS = {
    "tiny": WhisperSize(384, 6, 4, 4),
    "base": WhisperSize(512, 8, 6, 6),
    "turbo": WhisperSize(1280, 20, 32, 4, 128, 51_866),
}


def whisper_of(name: str, device: torch.device) -> Whisper:
    """A model of a released size that never ends a text by itself."""
    size = WHISPERS[name]
    model = Whisper(ModelDimensions(*size.audio, *size.text)).eval()
    end = get_tokenizer(True, num_languages=model.num_languages).eot
    # openai-whisper leaves it as the memory was, to be loaded: now and then that is no number.
    nn.init.normal_(model.decoder.positional_embedding, std=0.02)
    with torch.no_grad():
        model.decoder.token_embedding.weight[end] = 0  # below the likeliest of 50,000, always
    return model.to(device)


def ears(names: Sequence[str] = ("base", "turbo"), clips: int = 64) -> Iterator[Part]:
    """Whisper on prompts of 5 s: the encoder's window is cut to 8 s, some 25 tokens come out."""
    for name in names:
        encoder, decoder = hearing(name, clips, context=400)
        yield Part(f"Whisper {name}, encoder, {clips} clips", encoder, clips * PROMPT)
        yield Part(f"Whisper {name}, 25 tokens, {clips} clips", decoder, clips * PROMPT, calls=25)


def hearing(name: str, clips: int, context: int) -> tuple[Cost, Cost]:
    """Whisper's encoder on a batch, and its decoder on the next token, as moderation runs them."""
    size = WHISPERS[name]
    with META:
        encoder = _halved(AudioEncoder(*size.audio))
        decoder = _halved(TextDecoder(*size.text))
        encoder.positional_embedding = encoder.positional_embedding[:context]
        mel = torch.zeros(clips, size.mels, 2 * context, dtype=torch.half)
        sound = torch.zeros(clips, context, size.width, dtype=torch.half)
        said = torch.zeros(clips, 1, dtype=torch.long)
        known = [part for b in decoder.blocks for part in (b.cross_attn.key, b.cross_attn.value)]
        cache = dict.fromkeys(known, sound)
        return counted(lambda: encoder(mel)), counted(lambda: decoder(said, sound, cache))


def _halved(network: nn.Module) -> Any:
    """In half precision but for the norms, which openai-whisper computes in float32."""
    network = network.half()
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            module.float()
    return network
