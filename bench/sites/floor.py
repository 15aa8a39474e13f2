"""The site at the price of its round trips alone."""

from bench.stand_ins import floor

floor()
