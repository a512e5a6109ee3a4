"""Whether a delivered sound is known again by its fingerprint."""
