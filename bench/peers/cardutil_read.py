"""Reads an IPM file with cardutil: cardutil_read.py ENCODING FILE. Prints messages and sum of DE 4."""

import sys

from cardutil.mciipm import IpmReader

messages = total = 0
with open(sys.argv[2], "rb") as file:
    for record in IpmReader(file, encoding=sys.argv[1], blocked=True):
        messages += 1
        total += int(record.get("DE4") or 0)
print(messages, total)
