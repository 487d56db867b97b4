"""What is made a component: the author's `worker.py`, behind the functions of the world."""

import gc
import sys

import worker

from .exports import Exports

if Exports.worker_class is None:
    raise RuntimeError("worker.py exports no class: its last line should be export(YourWorker)")


_exports = Exports()


class WitWorld:
    """The world `worker`; the runtime looks for it by this name, and makes one for each function."""

    start = _exports.start
    handle_msg = _exports.handle_msg
    loop = _exports.loop
    stop = _exports.stop


def _keep_sources():
    """Keeps the lines of the author's modules: a worker has no files, and tracebacks would come without them."""
    import linecache

    folder = worker.__file__.rpartition("/")[0] + "/"
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if path.startswith(folder) and not module.__name__.startswith("grid_worker"):
            lines = linecache.getlines(path)
            # Without a time of change an entry is never checked against the file.
            linecache.cache[path] = (sum(map(len, lines)), None, lines, path)


_keep_sources()
# All that there is by now lives for good: the collector need not look at it, and its memory stays shared with the
# module's image.
gc.collect()
gc.freeze()
