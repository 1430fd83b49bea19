"""The processes of a loader: how they start, and how they end."""

import os
import signal
import sys
import threading

from hanline.system.parallel import end_with_parent

# On Linux a worker ignores SIGTERM by blocking it before it starts a thread. One that is not forked
# has threads of its libraries by then.
START_METHOD = "fork" if sys.platform == "linux" else None


def ignore_sigterm_in_worker(worker: int) -> None:
    """Have a worker serve the step at which its run is stopped, and the validation after it.

    Ctrl-C on a terminal, and SIGTERM from systemd, SLURM or ``timeout``, come to all processes of a
    run. The first one finishes its step and saves the state, which it cannot without its workers;
    then it ends them. Only on Linux can a process find out who sent it a signal.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # Before any thread starts: one in which it were not blocked would get it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_for_parent, daemon=True).start()
    end_with_parent()


def _end_for_parent() -> None:
    """End at SIGTERM from the process whose worker this is: it is how Python ends workers, too."""
    if sys.platform == "linux":
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)
