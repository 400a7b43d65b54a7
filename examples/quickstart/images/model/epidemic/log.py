"""Log lines: plain for people, JSON for a log service (LOG_FORMAT=json)."""

import json
import os
import sys


def log(message, **fields):
    """Writes one line to stderr, with the commit that the image was made from."""
    fields["image"] = os.environ.get("IMAGE_GIT_HASH", "unknown")
    if os.environ.get("LOG_FORMAT") == "json":
        line = json.dumps({"message": message, **fields}, sort_keys=True)
    else:
        line = message + "".join(f" {name}={value}" for name, value in sorted(fields.items()))
    print(line, file=sys.stderr)
