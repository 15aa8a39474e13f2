"""Runs on hosts as one file that Python runs (../drift.py), by the standard library alone."""
