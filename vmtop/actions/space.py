"""How much room something needs that is to be written."""

from vmtop.model.policy import Policy


def needed_bytes(write_bytes: int, policy: Policy) -> int:
    """What has to be free so that a disk does not fill up: a full one pauses VMs, not only the one that is written."""
    return write_bytes + int(policy.space_margin_ratio * write_bytes) + policy.space_margin_bytes
