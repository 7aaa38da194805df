"""Stacks built from layers (floor 2): what a model is made of, and how it is made."""
