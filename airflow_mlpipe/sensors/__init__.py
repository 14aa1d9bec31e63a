"""Sensors: waiting for outputs that somebody else makes."""
