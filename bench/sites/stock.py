"""The site by pyinfra's own operations."""

from bench.stand_ins import stock

stock()
