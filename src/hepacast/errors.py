"""The errors that a user can meet, each saying what was expected, what was found, where, and what to do.

What may live here: exception classes. What may not: anything that imports another room of hepacast.
"""

from __future__ import annotations

EXIT_BAD_INPUT = 2


class HepacastError(Exception):
    """Something that the user can put right. The command line prints it without a traceback and exits with 2.

    Parameters
    ----------
    message
        What is wrong, in one sentence.
    expected, found
        What was expected and what was found instead.
    where
        File, sheet, row, column, patient (study identifier only, never a name).
    remedy
        What to do about it.
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(
        self,
        message: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        where: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.message = message
        self.expected = expected
        self.found = found
        self.where = where
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.message]
        for label, text in (
            ("expected", self.expected),
            ("found", self.found),
            ("where", self.where),
            ("what to do", self.remedy),
        ):
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments would be lost when a worker process sends the error back.
        return (_rebuild, (type(self), self.message, self.expected, self.found, self.where, self.remedy))


def _rebuild(
    kind: type[HepacastError],
    message: str,
    expected: str | None,
    found: str | None,
    where: str | None,
    remedy: str | None,
) -> HepacastError:
    return kind(message, expected=expected, found=found, where=where, remedy=remedy)


class StudyFileError(HepacastError):
    """The study file does not say something that can be run."""


class TableError(HepacastError):
    """A clinical or feature table cannot be read as described."""


class ImageError(HepacastError):
    """An image or a mask cannot be read, or is not what the stage needs."""


class GeometryError(ImageError):
    """Two images that must share a grid do not; the message says by how many mm."""


class OutcomeError(HepacastError):
    """The outcome cannot be modelled (missing, of one class, too few events)."""


class ModelError(HepacastError):
    """A model cannot be fitted or applied to these data."""


class BundleError(HepacastError):
    """A model bundle is damaged, too new, or does not fit the input."""


class MissingPackageError(HepacastError):
    """An optional package is needed for what was asked."""


class StorageError(HepacastError):
    """The disk is full, or a folder cannot be written."""
