"""Every adapter's load of a delta, read back and certified, beside the store's own bulk loader, in the same run."""

from tests.bench.loaders.measuring import Loaders, measure

__all__ = ["Loaders", "measure"]
