"""physml: differentiable physics on JAX."""

from physml.precision import enable_x64

__version__ = "0.1.0"

__all__ = ["__version__", "enable_x64"]
