"""What can go wrong in the laboratory, apart from what it was made to show."""


class LabError(Exception):
    """The laboratory, not vmtop, failed: a daemon or guest did not do what it must."""


class MissingPieceError(LabError):
    """This machine lacks something that real guests need; the text says what, and how to get it."""
