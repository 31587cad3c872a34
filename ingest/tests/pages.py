"""Prints the characters of every page: its name, then 256 code points.

Usage: python pages.py
"""

import ebcdic  # noqa: F401  registers cp1047

for page in ("latin1", "cp037", "cp500", "cp1140", "cp1047"):
    print(page, *(ord(character) for character in bytes(range(256)).decode(page)))
