"""How long work rests after a stage was killed."""
