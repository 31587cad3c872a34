"""Runs each reader on the same file, turn by turn, and prints the best of each.

usage: compare.py BATCHLESS PYTHON PROGRAMS DIRECTORY RECORDS ROUNDS
"""

import os
import subprocess
import sys
import time

batchless, python, programs, directory, records, rounds = sys.argv[1:]
records, rounds = int(records), int(rounds)
here = os.path.dirname(os.path.abspath(__file__))
# cardutil is slow: it gets a file of its own, of a size that it reads in some seconds.
few = max(1, records // 20)
nacha, ipm, ipm_few = (os.path.join(directory, name) for name in ("nacha", "ipm", "ipm-few"))


def generate(path, count, *options):
    command = [batchless, "generate", "--records", str(count), *options]
    with open(path, "wb") as out:
        subprocess.run(command, stdout=out, check=True)


def parse(path, *options):
    return [batchless, "parse", "--output", "none", *options, path]


generate(nacha, records, "--format", "nacha")
ebcdic = ("--format", "ipm", "--encoding", "cp500", "--framing", "blocked")
generate(ipm, records, *ebcdic)
generate(ipm_few, few, *ebcdic)

WORK = [
    ("NACHA", "batchless parse, totals proven", records, nacha, parse(nacha, "--format", "nacha")),
    ("NACHA", "moov-io/ach Reader, totals proven", records, nacha, [f"{programs}/ach", "reader", nacha]),
    ("NACHA", "moov-io/ach Iterator, no totals", records, nacha, [f"{programs}/ach", "iterator", nacha]),
    ("IPM", "batchless parse, totals proven", records, ipm, parse(ipm, *ebcdic)),
    ("IPM", "moov-io/iso8583, one message in memory", records, None, [f"{programs}/iso8583", str(records)]),
    ("IPM", "cardutil, no totals", few, ipm_few, [python, f"{here}/cardutil_read.py", "cp500", ipm_few]),
]


def measure(command):
    """Wall and CPU seconds, and the most memory in MB."""
    begun = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command[0]} ended with {child.returncode}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


best = {}
for _ in range(rounds):
    for work in WORK:
        cost = measure(work[4])
        key = work[:2]
        best[key] = min(best.get(key, cost), cost)

print(f"{'format':<7}{'reader':<42}{'records/s':>11}{'MB/s':>8}{'CPU µs/rec.':>13}{'peak MB':>9}")
for format, reader, count, path, _ in WORK:
    wall, cpu, peak = best[(format, reader)]
    rate = f"{os.path.getsize(path) / wall / 1e6:.0f}" if path else "-"
    print(
        f"{format:<7}{reader:<42}{count / wall:>11,.0f}{rate:>8}{cpu / count * 1e6:>13.2f}{peak:>9.0f}"
    )
