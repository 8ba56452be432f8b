"""Executes an artifact on a device: the standard library, numpy and the artifact's runtime.

It runs on Python 3.9 and later, imports nothing of edgekit, and travels as a single `.pyz`:
relative imports only.
"""
