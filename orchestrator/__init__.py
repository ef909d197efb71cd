"""The coordinator: where the person types."""

__version__ = "0.1.0"
