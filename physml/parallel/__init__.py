"""The same program on one process, under MPI, or over devices.

Nothing here starts MPI or imports a package of it before an MPI communicator is asked
for. `python -m physml.parallel` describes and tests the place it runs in.
"""

from physml.parallel.choice import CommunicatorName, choose_communicator
from physml.parallel.communicator import Communicator
from physml.parallel.division import Divided, Division, item_keys
from physml.parallel.mpi import MpiCommunicator
from physml.parallel.serial import SERIAL, SerialCommunicator
from physml.parallel.sharded import ShardedCommunicator
from physml.parallel.threads import limit_threads

__all__ = [
    "SERIAL",
    "Communicator",
    "CommunicatorName",
    "Divided",
    "Division",
    "MpiCommunicator",
    "SerialCommunicator",
    "ShardedCommunicator",
    "choose_communicator",
    "item_keys",
    "limit_threads",
]
