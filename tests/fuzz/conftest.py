"""Fuzzing: few examples by default, many in the profile ``fuzz``.

``GVTZOO_FUZZ=1 pytest tests/fuzz``, or ``pytest tests/fuzz --hypothesis-profile fuzz``;
``GVTZOO_FUZZ_TIMES`` is how many times as many.
"""

from __future__ import annotations

# xarray imports it when it first meets an array, and it unpickles while it is imported: neither is
# what the tests look for.
import dask.delayed  # noqa: F401
import pytest
from hypothesis import settings

settings.register_profile("fuzz", settings())


@pytest.fixture(scope="session")
def members() -> dict[str, bytes]:
    """The files of a small package."""
    import small_package

    return small_package.members()
