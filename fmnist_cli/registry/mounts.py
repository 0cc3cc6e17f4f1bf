"""Whether a file is on a network mount, where other machines may have it open as well."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

NETWORK = re.compile(
    r"9p|afs|beegfs|ceph|cifs|fuse\.(glusterfs|s3fs|sshfs)|gfs2|glusterfs|gpfs|lustre|ncpfs|nfs4?"
    r"|ocfs2|orangefs|smb3|smbfs"
)


def network_mount(path: Path) -> str | None:
    """The kind of the network mount that the file is on, such as ``nfs4``; None: no such mount.

    Known from Linux's list of mounts; elsewhere nothing is known, and the answer is None.
    """
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    found, kind = "", None
    for line in lines:
        # proc(5): 36 35 98:0 /root /mount/point options [...] - type source options
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
        inside = os.path.commonpath([path, point]) == point
        if inside and len(point) >= len(found):  # the last of those mounted there is on top
            found, kind = point, after.split(" ")[0]
    return kind if kind and NETWORK.fullmatch(kind) else None
