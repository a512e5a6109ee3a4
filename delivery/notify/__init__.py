"""Telling others outside that a job has ended."""
