"""Errors of this package.

ModelError
├── TrunkMissingError     a trunk is not here, or is no encoder that can be used
├── DataError        labelled comments cannot be read
├── ArtifactError    an artifact folder is absent, incomplete or altered
├── EngineMissingError    the library of the chosen engine is not installed, or its device absent
├── OverloadedError       the server's queue is full (back-pressure, not a fault)
├── DeadlineError    a text was not on the device before its caller's deadline
└── DeviceError      the model failed on a text, or the device on any
"""

from __future__ import annotations


class ModelError(Exception):
    """Something the user can mend; the message says how, in one line."""


class TrunkMissingError(ModelError):
    """A trunk is not here, or is no encoder that can be used."""


class DataError(ModelError):
    """Labelled comments cannot be read."""


class ArtifactError(ModelError):
    """An artifact folder is absent, incomplete or altered."""


class EngineMissingError(ModelError):
    """The library of the chosen engine is not installed, or its device absent."""


class OverloadedError(ModelError):
    """The queue is full: ask again later."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class DeadlineError(ModelError):
    """The caller's deadline passed before the device saw the text."""


class DeviceError(ModelError):
    """The model failed on this text, or the device on any; the message names the exception."""


def told(error: BaseException) -> str:
    """For a log, in one line; the `repr` of some errors holds the text that they are about."""
    return f"{type(error).__name__}: {error}"
