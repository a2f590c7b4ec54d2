"""Execute a notebook and write it with its outputs: `python -m tests.execute_notebook IN OUT`.

In a process of its own, as what runs notebooks leaves sockets open.  The kernel talks through files in the
folder of OUT, not through ports, and runs there.
"""

import sys
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

LONGEST = 300  # seconds for one cell; only one that hangs takes so long


def main(source: Path, target: Path) -> None:
    """Execute all cells, also after one that failed: its error is among the outputs."""
    notebook = nbformat.read(source, as_version=4)
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(target.parent / "kernel"))
    resources = {"metadata": {"path": str(target.parent)}}
    NotebookClient(notebook, km=kernel, timeout=LONGEST, allow_errors=True, resources=resources).execute()
    nbformat.write(notebook, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
