import pytest

pytest.register_assert_rewrite("tests.galaxy_fl.modes.conformance")
