"""Hear the prompt, judge what is said and how, and say why."""
