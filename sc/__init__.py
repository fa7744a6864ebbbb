"""sc runs thousands to millions of independent commands on as many machines as you allow."""

__version__ = "0.1.0"
