"""Trainings that two processes share, for tests."""
