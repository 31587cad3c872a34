"""Writes IPM files with cardutil, reads them back with it, and prints what it read.

Usage: python cardutil.py DIRECTORY. One line a file: name, encoding, framing, messages that carry an
amount, sum of the amounts.
"""

import datetime
import pathlib
import sys

# This script's own folder comes first on the path, and its name is the library's.
sys.path.pop(0)

import ebcdic  # noqa: E402, F401  registers cp1047
from cardutil.mciipm import IpmReader, IpmWriter  # noqa: E402

FILE_ID = "0022607220000001294000001"
FOLDER = pathlib.Path(sys.argv[1])


def messages(records):
    yield {"MTI": "1644", "DE24": "697", "DE71": "1", "PDS0105": FILE_ID, "PDS0122": "T"}
    total = 0
    for number in range(records):
        amount = 100 + number * 7919 % 90000
        total += amount
        refund = number % 10 == 3
        message = {
            "MTI": "1240",
            "DE2": "541333%010d" % (number * 104729 % 10**10),
            "DE3": "200000" if refund else "000000",
            "DE4": str(amount),
            "DE12": datetime.datetime(2026, 7, 22, number % 24, number % 60, number % 59),
            "DE22": "900000000000",
            "DE24": "200",
            "DE26": "5411",
            "DE31": "05413336203%011d1" % number,
            "DE38": "%06d" % (number % 1000000),
            "DE42": "MERCHANT0000001",
            # Of every length up to 99, so that messages end anywhere in a block.
            "DE43": ("SHOP %d\\STREET\\CITY " % number).ljust(99, "X")[: 40 + number * 31 % 60],
            "DE49": "986",
            "DE71": str(number + 2),
            "PDS0023": "POI",
            "PDS0165": "M",
        }
        if number % 10 == 7:
            message["PDS0025"] = "R"
        if number % 4 == 1:
            message.update({"DE6": str(amount * 5), "DE49": "840", "DE51": "986"})
        yield message
    count = records + 2
    yield {
        "MTI": "1644",
        "DE24": "695",
        "DE71": str(count),
        "PDS0105": FILE_ID,
        "PDS0301": "%016d" % total,
        "PDS0306": "%08d" % count,
    }


def main():
    plans = [(encoding, blocked, 2000)
             for encoding in ("latin_1", "cp037", "cp500", "cp1047") for blocked in (False, True)]
    plans += [("latin_1", False, 20000), ("cp1047", True, 20000)]
    for encoding, blocked, records in plans:
        framing = "blocked" if blocked else "vbs"
        path = FOLDER / ("%s-%s-%d.ipm" % (encoding, framing, records))
        with path.open("wb") as file:
            writer = IpmWriter(file, encoding=encoding, blocked=blocked)
            for message in messages(records):
                writer.write(message)
            writer.close()
        amounts = []
        with path.open("rb") as file:
            for message in IpmReader(file, encoding=encoding, blocked=blocked):
                if "DE4" in message:
                    amounts.append(int(message["DE4"]))
        print(path.name, encoding, framing, len(amounts), sum(amounts))


main()
