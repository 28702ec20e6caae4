"""Linear maps as pytrees; they know no physics."""

from physml.operators.laplacian import STENCILS, Laplacian
from physml.operators.linear_operator import (
    DenseOperator,
    FunctionOperator,
    LinearOperator,
    SparseOperator,
    as_operator,
)

__all__ = [
    "STENCILS",
    "DenseOperator",
    "FunctionOperator",
    "Laplacian",
    "LinearOperator",
    "SparseOperator",
    "as_operator",
]
