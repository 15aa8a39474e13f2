"""Custody of the HSMs' logs: each entry is in a git repository before its slot on the device is freed.

It runs around each call of a tool that signs, so it is the standard library and `yubihsm` alone.
"""
