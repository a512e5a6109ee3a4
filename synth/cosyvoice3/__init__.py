"""CosyVoice3: a text and a few seconds of a voice in, speech in that voice out."""
