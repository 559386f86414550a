"""Every error that this package raises on purpose.

    FFMergeError
    ├── SourceError        (ValueError)    a model that cannot be opened
    │   └── UnsupportedModelError          it opens, but its FF sublayers are unknown here
    ├── ProofError         (RuntimeError)  declared FF weights that are not the model's
    ├── PlanError          (ValueError)    groups or recipes that cannot be carried out
    ├── DataError          (ValueError)    data that cannot be used
    ├── StorageError       (OSError)       a data folder or run history out of reach
    ├── MissingPackageError (ImportError)  a package that only some need, and is not installed
    └── Cancelled                          someone pressed Cancel; a progress callback raises it
        └── Interrupted                    the process is stopping

Messages are whole sentences for the person in front of the screen: what was found,
what was expected, what to do.
"""


class FFMergeError(Exception):
    """Base of every error raised on purpose."""


class SourceError(FFMergeError, ValueError):
    """A model source that cannot be opened: absent, damaged or refused."""


class UnsupportedModelError(SourceError):
    """A model that opens but whose FF sublayers are in no known family."""


class ProofError(FFMergeError, RuntimeError):
    """The declared FF weights do not compute what the model computes."""


class PlanError(FFMergeError, ValueError):
    """Groups or recipes that cannot be carried out on this model."""


class DataError(FFMergeError, ValueError):
    """Data that cannot be used: absent, wrongly shaped or not finite."""


class StorageError(FFMergeError, OSError):
    """A data folder or run history that cannot be read or written."""


class MissingPackageError(FFMergeError, ImportError):
    """A package that only some need is not installed."""


class Cancelled(FFMergeError):  # noqa: N818 (a request, not an error)
    """Work stopped because its user asked; nothing was changed."""


class Interrupted(Cancelled):
    """Work stopped because its process is stopping; nobody asked for it."""
