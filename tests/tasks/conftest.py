"""Folders of small pictures, as the tests of the data have them."""

from tests.data.conftest import class_folders, masked, two_sides  # noqa: F401
