"""What the launcher (mpirun, mpiexec, srun, aprun) tells a process about its place."""

import os
from collections.abc import Mapping

# Open MPI; MPICH, Intel MPI, Cray PALS; MVAPICH; Slurm's srun
_SIZES = (
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "PALS_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
)
_RANKS = (
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "PALS_RANKID",
    "MV2_COMM_WORLD_RANK",
    "SLURM_PROCID",
)
_LOCAL_RANKS = (
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "PALS_LOCAL_RANKID",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "SLURM_LOCALID",
)


def num_launched(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many processes were launched together, 1 without a launcher."""
    return _first(_SIZES, environment, default=1)


def launched_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of this process among those launched, 0 without a launcher."""
    return _first(_RANKS, environment, default=0)


def local_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of this process on its host, 0 without a launcher."""
    return _first(_LOCAL_RANKS, environment, default=0)


def _first(names: tuple[str, ...], environment: Mapping[str, str], default: int) -> int:
    values = (environment.get(name, "") for name in names)
    return next((int(value) for value in values if value.isdecimal()), default)
