"""What must be true of a store after a kill: the book that the crash test keeps.

Before an operation its changes are entered as intended, after its answer as acknowledged. A kill leaves each worker with at
most one intention without an answer: that one may have happened, once, or not. Everything else is certain.
"""
import bisect
import threading

CHECKPOINT_EVERY = 500


class Broken(AssertionError):
    """The store did something that no order of the operations explains."""


class Operation:
    """One write: changes are [(key, value or None for a deletion)] in their order."""

    def __init__(self, changes, lease=0):
        self.changes = list(changes)
        self.lease = lease

    def __repr__(self):
        return f"Operation({self.changes})"


class History:
    """Every revision of the store, by what was acknowledged and by what a watch over all keys delivered. Thread-safe."""

    def __init__(self):
        self._lock = threading.Lock()
        self._acknowledged = {}  # revision -> Operation
        self._open = []  # operations without an answer yet, or whose answer the kill took away
        self._seen = 1  # every revision up to here has been delivered
        self._state = {}  # key -> (value, create, mod, version, lease) at _seen
        self._checkpoints = [(1, {})]
        self._log = []  # (revision, changes with their leases) in order
        self.compacted = -1  # acknowledged
        self.compaction_asked = -1  # at most this far
        self.leases = set()

    def intend(self, operation):
        with self._lock:
            self._open.append(operation)

    def acknowledge(self, operation, revision):
        with self._lock:
            known = self._acknowledged.get(revision)
            if known is not None and known is not operation:
                raise Broken(f"revision {revision} was given to {known} and to {operation}")
            if known is None:  # else the watch was faster than the answer
                if not any(candidate is operation for candidate in self._open):
                    raise Broken(f"{operation} was answered with {revision}, but delivered with another revision")
                self._open = [candidate for candidate in self._open if candidate is not operation]
                self._acknowledged[revision] = operation

    @property
    def seen(self):
        with self._lock:
            return self._seen

    def newest_acknowledged(self):
        with self._lock:
            return max(self._acknowledged, default=1)

    def deliver(self, events):
        """Takes the events of whole revisions, as a watch delivered them."""
        with self._lock:
            at = 0
            while at < len(events):
                revision = events[at].kv.mod_revision
                end = at
                while end < len(events) and events[end].kv.mod_revision == revision:
                    end += 1
                self._deliver_revision(revision, events[at:end])
                at = end

    def _deliver_revision(self, revision, events):
        if revision != self._seen + 1:
            raise Broken(f"after revision {self._seen} the watch delivered {revision}")
        changes = [(event.kv.key, None if event.type == event.DELETE else event.kv.value) for event in events]
        self._explain(revision, changes)
        for event in events:
            self._apply(event)
        self._seen = revision
        self._log.append((revision, events))
        if revision % CHECKPOINT_EVERY == 0:
            self._checkpoints.append((revision, dict(self._state)))

    def _explain(self, revision, changes):
        operation = self._acknowledged.get(revision)
        if operation is not None:
            if operation.changes != changes:
                raise Broken(f"revision {revision} is {changes}, but {operation} was acknowledged with it")
            return
        for candidate in self._open:
            if candidate.changes == changes:
                self._open = [other for other in self._open if other is not candidate]
                self._acknowledged[revision] = candidate
                return
        if all(key.startswith(b"x/") and value is None for key, value in changes):
            return  # a short lease ran out
        raise Broken(f"revision {revision} is {changes}, which nobody asked for (open: {self._open})")

    def _apply(self, event):
        key, old = event.kv.key, self._state.get(event.kv.key)
        if event.HasField("prev_kv") != (old is not None):
            raise Broken(f"revision {event.kv.mod_revision} of {key} has the wrong previous value: {event}, known is {old}")
        if old is not None and (event.prev_kv.value, event.prev_kv.mod_revision) != (old[0], old[2]):
            raise Broken(f"revision {event.kv.mod_revision} of {key} replaced {event.prev_kv}, known is {old}")
        if event.type == event.DELETE:
            self._state.pop(key, None)
            return
        create, version = (event.kv.mod_revision, 1) if old is None else (old[1], old[3] + 1)
        if (event.kv.create_revision, event.kv.version) != (create, version):
            raise Broken(f"{event.kv} should have create_revision {create} and version {version}")
        self._state[key] = (event.kv.value, create, event.kv.mod_revision, version, event.kv.lease)

    def state_at(self, revision):
        """key -> (value, create, mod, version, lease) as of a revision that has been delivered."""
        with self._lock:
            if revision == self._seen:
                return dict(self._state)
            number = bisect.bisect_right(self._checkpoints, revision, key=lambda entry: entry[0]) - 1
            start, state = self._checkpoints[number]
            state = dict(state)
            first = bisect.bisect_right(self._log, start, key=lambda entry: entry[0])
            for at, events in self._log[first:]:
                if at > revision:
                    break
                for event in events:
                    if event.type == event.DELETE:
                        state.pop(event.kv.key, None)
                    else:
                        state[event.kv.key] = (event.kv.value, event.kv.create_revision, event.kv.mod_revision, event.kv.version,
                                               event.kv.lease)
            return state

    def check_complete(self):
        """Every acknowledged revision must have been delivered by now."""
        with self._lock:
            missing = [revision for revision in self._acknowledged if revision > self._seen]
            if missing:
                raise Broken(f"acknowledged but gone: revisions {missing[:5]}, the store is at {self._seen}")
            # What is explained need not be kept for ever.
            self._acknowledged = {revision: operation for revision, operation in self._acknowledged.items()
                                  if revision > self._seen - 10_000}
            self._open = []  # what has not happened by now never will
