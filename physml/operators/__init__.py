"""Linear maps as pytrees; they know no physics."""

from physml.operators.laplacian import STENCILS, Laplacian

__all__ = ["STENCILS", "Laplacian"]
