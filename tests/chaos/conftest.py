"""Nothing may be left after any test, least of all after these."""

from tests.integration.conftest import _clean_machine  # noqa: F401
