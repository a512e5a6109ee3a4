"""Doors for people who look after others' jobs: one module for each, all of them thin.

They know HTTP, and that whoever looks is written down before they see anything. They refuse to know
who may come in and where sound is heard: a porter, whom composition puts at these doors, does.
"""

from audit.doors import dead, page, review, trail
from audit.doors.shared import Porter, Refused, Who

ROUTERS = (review.review, dead.letters, trail.trails, page.pages)

__all__ = ["ROUTERS", "Porter", "Refused", "Who"]
