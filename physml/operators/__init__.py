"""Linear maps as pytrees; they know no physics."""

from physml.operators.hermiticity import hermiticity_defect, require_hermitian
from physml.operators.hopping import BondGeometry, HoppingOperator
from physml.operators.laplacian import STENCILS, Laplacian
from physml.operators.linear_operator import (
    DenseOperator,
    FunctionOperator,
    LinearOperator,
    SparseOperator,
    as_operator,
)
from physml.operators.sparse_matrix import to_sparse

__all__ = [
    "STENCILS",
    "BondGeometry",
    "DenseOperator",
    "FunctionOperator",
    "HoppingOperator",
    "Laplacian",
    "LinearOperator",
    "SparseOperator",
    "as_operator",
    "hermiticity_defect",
    "require_hermitian",
    "to_sparse",
]
