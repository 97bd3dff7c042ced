"""Reads a study's files and says what they show: tables, figures, verdicts. Never imports torch."""
