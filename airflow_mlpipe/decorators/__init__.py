"""Decorators for the TaskFlow style."""
