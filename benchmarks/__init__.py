"""Measure the cost of waiting for credits, with this package and with the alternatives: ``make bench``."""
