"""A communicator lets the ranks of a parallel run talk: rank r of p sends arrays to the others.

``Comm`` is the one interface that collectives and strategies are written against; the channels
behind it are interchangeable:

- :class:`InProcess`: the ranks are threads of this process (lessons, tests);
- :class:`Pipes`: the ranks are processes that this process has started;
- :class:`DaskComm`: the ranks are tasks on the workers of a Dask cluster.

Others lie over one of these, leave single messages to it, and add arrays in a faster way
(:class:`Reduces`):

- :class:`SharedMemory`: all ranks are on one host, and add in memory that they share;
- :class:`TorchComm`: PyTorch's process groups, gloo or nccl;
- :class:`Hierarchical`: shared memory inside each host, one rank per host between hosts.

The rules that every channel keeps: messages from one rank with one tag arrive in the order sent,
each once, or the wait for the one that is missing is in vain; when ``send`` returns, the sender may
overwrite its array; what ``recv`` returns belongs to the receiver; no wait is without end.

Chapter: data parallelism.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.needs import on_demand
from course_lib.parallel.comm.groups import Layered, SubComm
from course_lib.parallel.comm.interface import Comm, Counters, Reduces, Tag
from course_lib.parallel.comm.mailbox import Mailbox, MailboxComm
from course_lib.parallel.comm.pipes import Pipes
from course_lib.parallel.comm.threads import InProcess, run_threads

if TYPE_CHECKING:
    from course_lib.parallel.comm.dask_comm import DaskComm

__all__ = [
    "Comm",
    "Counters",
    "DaskComm",
    "InProcess",
    "Layered",
    "Mailbox",
    "MailboxComm",
    "Pipes",
    "Reduces",
    "SubComm",
    "Tag",
    "run_threads",
]

__getattr__ = on_demand(__name__, {"DaskComm": "dask_comm"})
