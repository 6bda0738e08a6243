"""What a stage does while it runs, counted: the moments at which it may be killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kill:
    """When a stage kills its own process (SIGKILL): at event number `event`, or `after` seconds if it has no events."""

    event: int = 0
    after: float = 0.0


class Events:
    """Counts progress reports and writes, the moments at which a stage may be killed.

    ``trainings`` holds, for each kept training, the number of events before and after it.
    """

    def __init__(self, kill: Kill | None) -> None:
        self.count, self._kill = 0, kill
        self.trainings: list[list[int]] = []
        if kill is not None and not kill.event:
            # A stage that reports nothing can only be killed by the clock.
            clock = threading.Thread(
                target=self._later,
                args=(kill.after,),
                daemon=True,
            )
            clock.start()

    def note(self, *_: object) -> None:
        """Count one more; the last thing this process does if it is the one to die at."""
        self.count += 1
        # Not an exception: a plugin could catch one, and tidy up as no kill would let it.
        if self._kill is not None and self.count == self._kill.event:
            os.kill(os.getpid(), signal.SIGKILL)

    def _later(self, seconds: float) -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    def count_writes(self, writer: Any) -> None:
        """Let every write of `writer` be noted before it is done."""
        write = writer.write

        def counted(*arguments: Any, **named: Any) -> Any:
            self.note()
            return write(*arguments, **named)

        writer.write = counted

    def watch(self, name: str, begins: bool) -> None:
        """Note the beginning or the end of a kept training."""
        if begins:
            self.trainings.append([self.count])
        else:
            self.trainings[-1].append(self.count)
