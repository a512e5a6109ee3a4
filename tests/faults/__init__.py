"""The relay under fire: seeded jobs through the door, seeded faults, invariants from the outside.

    python -m tests.faults --kills 1000 --seed 1 --log kafka --json

The models are replaced by deterministic stand-ins; nothing else is.
"""
