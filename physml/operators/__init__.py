"""Linear maps as pytrees; they know no physics."""

from physml.operators.bessel_basis import BesselBasis, bessel_basis, bessel_zeros
from physml.operators.hermiticity import hermiticity_defect, require_hermitian
from physml.operators.hopping import BondGeometry, HoppingOperator
from physml.operators.kronecker_sum import KroneckerSum
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
    "BesselBasis",
    "BondGeometry",
    "DenseOperator",
    "FunctionOperator",
    "HoppingOperator",
    "KroneckerSum",
    "Laplacian",
    "LinearOperator",
    "SparseOperator",
    "as_operator",
    "bessel_basis",
    "bessel_zeros",
    "hermiticity_defect",
    "require_hermitian",
    "to_sparse",
]
