"""Metrics of a host."""

FOLDER = "/var/lib/prometheus/node-exporter"
"""Where Debian's node exporter reads files."""
