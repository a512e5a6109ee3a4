"""The demo voice: Kokoro-82M on the CPU. It speaks Mandarin and English and cannot clone."""
