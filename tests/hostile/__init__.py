"""Input from somebody who means harm, or whose phone broke it: uploads, doors, records.

    python -m tests.hostile --uploads 10000 --seed 1 --json

Everything follows from a seed, so whatever was found can be sent again.
"""
