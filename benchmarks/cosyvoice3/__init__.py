"""How fast the CosyVoice3 engine speaks: the whole of it, from prompt to sound in memory."""
