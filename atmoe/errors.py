"""The errors a user can cause. Each message is one sentence that names the fix."""


class AtMoeError(Exception):
    """Base of every error below: the command line prints it and exits 2, the page shows it."""


class BaseModelError(AtMoeError):
    """The base model cannot be found, fetched, or is not the one that was asked for."""


class AssetError(AtMoeError):
    """A saved AT-MoE (config, router, adapters) is missing, corrupt, or of another base."""


class PromptError(AtMoeError):
    """The prompt cannot be answered: empty, too long, or not text."""


class PlanError(AtMoeError):
    """A routing plan does not fit the model or its own names."""


class SteeringError(AtMoeError):
    """An override names something unknown, or overrides contradict each other."""


class DataError(AtMoeError):
    """A corpus directory is missing or is not in its original layout."""


class TrainingError(AtMoeError):
    """A training run cannot start or resume with the given arguments."""


class SamplingError(AtMoeError):
    """A setting of generation (tokens, temperature, top-p, seed) is out of its range."""


class ClosingError(AtMoeError):
    """The page is about to end, and begins nothing any more."""


class ClusterError(AtMoeError):
    """A cluster cannot be joined, or one of its machines lacks what the work needs."""
