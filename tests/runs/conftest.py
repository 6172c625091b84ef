"""The toy task of tests/training, here too."""

from tests.training.conftest import toy_task  # noqa: F401
