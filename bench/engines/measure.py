"""Measures both halves of batchless on Kafka and PostgreSQL, and what others do beside them.

    measure.py --binaries DIR [RECORDS] [--only NAME]...

Each measurement prints a line as it ends, and all of them are a table at the end. Time is taken from
what the programs themselves leave behind: the log line of the first file that arrives, the time of
the last event, the row of the last commit. Memory is the most that a process ever had resident.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

KAFKA = os.environ["BATCHLESS_TEST_KAFKA"]
POSTGRES = os.environ["BATCHLESS_TEST_POSTGRES"]
REGISTRY = os.environ["BATCHLESS_TEST_REGISTRY"]
SHARDS = 16
ACCOUNTS = 50_000
HERE = Path(__file__).resolve().parent
# A run that has not ended by then has hung.
PATIENCE_S = 900


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, capture_output=True, **options).stdout


def sql(query, database=None):
    url = POSTGRES if database is None else f"{POSTGRES.rsplit('/', 1)[0]}/{database}"
    return run("psql", url, "-qAt", "-v", "ON_ERROR_STOP=1", "-c", query).strip()


class Process:
    """A process, and what it costs."""

    def __init__(self, *command, log, environment=None):
        self.begun = time.time()
        self.log = Path(log)
        with open(log, "w") as said:
            self.child = subprocess.Popen(
                command, stdout=said, stderr=said, env={**os.environ, **(environment or {})}
            )
        self.peak_kb = self.cpu_s = 0
        self.ended = threading.Event()
        self.watching = threading.Thread(target=self._watch, daemon=True)
        self.watching.start()

    def _watch(self):
        while not self.ended.wait(0.05):
            self.look()

    def look(self):
        try:
            status = Path(f"/proc/{self.child.pid}/status").read_text()
            stat = Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            return
        peak = re.search(r"VmHWM:\s+(\d+)", status)
        if peak:
            self.peak_kb = max(self.peak_kb, int(peak[1]))
        self.cpu_s = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def check(self):
        if self.child.poll() is not None:
            raise SystemExit(f"ended early: {self.log.read_text()[-2000:]}")

    def stop(self):
        self.look()
        self.ended.set()
        self.watching.join()
        self.child.terminate()
        self.child.wait(60)

    def wait(self):
        """Waits for its own end; gives how long it took."""
        while self.child.poll() is None:
            self.look()
            time.sleep(0.02)
        took = time.time() - self.begun
        self.ended.set()
        if self.child.returncode:
            raise SystemExit(f"{self.child.args[0]} failed: {self.log.read_text()[-2000:]}")
        return took

    def said_at(self, what):
        """When it first said this, by its own clock."""
        for line in self.log.read_text().splitlines():
            if what in line:
                said = json.loads(line)["timestamp"]
                return datetime.fromisoformat(said.replace("Z", "+00:00")).timestamp()
        raise SystemExit(f"it never said {what!r}: {self.log.read_text()[-2000:]}")


def until(is_so, process, every=0.1):
    deadline = time.time() + PATIENCE_S
    while not is_so():
        process.check()
        if deadline < time.time():
            raise SystemExit(f"it does not come: {process.log.read_text()[-2000:]}")
        time.sleep(every)


class Site:
    """A ledger of its own on the engines, with a folder that files are dropped into."""

    def __init__(self, binaries, name, lines=""):
        self.binaries = Path(binaries)
        self.name = f"bench-{os.getpid()}-{name}"
        self.folder = Path(tempfile.mkdtemp(prefix="batchless-bench-"))
        self.inbox = self.folder / "inbox"
        self.inbox.mkdir()
        sql(f'CREATE DATABASE "{self.name}"')
        (self.folder / "key").write_text("07" * 32 + "\n")
        os.chmod(self.folder / "key", 0o600)
        user = POSTGRES.split("://")[1].split(":")[0]
        host = POSTGRES.split("@")[1].split("/")[0]
        password = POSTGRES.split("://")[1].split("@")[0].split(":")[1]
        self.environment = {"BATCHLESS_STORE_PASSWORD": password}
        self.config = self.folder / "batchless.toml"
        self.config.write_text(
            f"""
ledger.name = "{self.name}"
ledger.shards = {SHARDS}
ledger.key_file = "{self.folder / 'key'}"
topics.location = "kafka://{KAFKA}"
topics.prefix = "{self.name}."
topics.registry = "{REGISTRY}"
store.location = "postgres://{user}@{host}/{self.name}"
log.format = "json"
{lines}

[[feed]]
name = "ach"
location = "{self.inbox}"
format = "nacha"
arrived = "marker"
"""
        )
        self.batchless("topics", "create")

    def batchless(self, *arguments):
        command = [self.binaries / "batchless", *arguments, "--config", self.config]
        return run(*command, env={**os.environ, **self.environment})

    def drop(self, records, accounts, files):
        """Drops files of as many records together."""
        for number in range(files):
            path = self.inbox / f"file-{number}.ach"
            each = records // files
            run(self.binaries / "bench", "generate", "nacha", str(each), str(accounts),
                str(number), path)
            (self.inbox / f"file-{number}.ach.done").touch()

    def start(self, half):
        command = [self.binaries / "batchless", half, "--config", self.config]
        return Process(*command, log=self.folder / f"{half}.log", environment=self.environment)

    def ends(self, topic):
        """The ends of a topic's partitions, added up."""
        asked = [f"-t{self.name}.{topic}:{shard}:-1" for shard in range(SHARDS)]
        ends = re.findall(r"\[(\d+)\] offset (\d+)", run("kcat", "-Q", "-b", KAFKA, *asked))
        return sum(int(end) for _, end in ends)

    def last_time(self, topic):
        """When the last event of a topic was sent."""
        consume = ["kcat", "-C", "-q", "-e", "-b", KAFKA, "-t", f"{self.name}.{topic}"]
        times = run(*consume, "-o", "-4", "-f", "%T\n", "-X", "isolation.level=read_committed")
        return max(int(line) for line in times.split()) / 1000

    def applied(self):
        # Its tables are made by the first who opens it.
        if not sql("SELECT 1 FROM pg_tables WHERE tablename = 'shards'", self.name):
            return 0
        return int(sql("SELECT coalesce(sum(next_number), 0) FROM shards", self.name))

    def files(self):
        lines = self.batchless("files", "--output", "json").splitlines()
        return [json.loads(line) for line in lines]

    def end(self):
        sql(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
        shutil.rmtree(self.folder, ignore_errors=True)
        for topic in ("arrivals", "commands", "files", "records", "rejects", "postings"):
            subprocess.run(
                [HERE.parents[1] / "engines" / "kafka.sh", "topics", "--delete", "--topic",
                 f"{self.name}.{topic}"], capture_output=True)


class Table:
    def __init__(self):
        self.rows = []

    def add(self, name, records, seconds, process=None, note=""):
        row = (
            name,
            f"{records:,}",
            f"{seconds:.2f}",
            f"{records / seconds:,.0f}",
            f"{process.cpu_s * 1e6 / records:.1f}" if process else "",
            f"{process.peak_kb / 1024:.0f}" if process else "",
            note,
        )
        self.rows.append(row)
        print("  ".join(row), file=sys.stderr)
        return records / seconds

    def __str__(self):
        head = ("what", "records", "s", "records/s", "CPU µs/record", "peak MB", "")
        rows = [head, *self.rows]
        widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
        lines = []
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:6], widths[1:6])]
            lines.append("  ".join([*cells, row[6]]).rstrip())
        return "\n".join(lines)


def halves(table, binaries, records, accounts, files, name, lines=""):
    """From a folder to events, and from the events to balances: one half, then the other."""
    site = Site(binaries, name, lines)
    try:
        site.drop(records, accounts, files)
        watch = site.start("watch")
        until(lambda: "file arrived" in watch.log.read_text(), watch)
        state = {"end": 0, "since": time.time()}

        def is_quiet():
            end = site.ends("records")
            if end != state["end"]:
                state.update(end=end, since=time.time())
            return records < end and 1.5 < time.time() - state["since"]

        until(is_quiet, watch, 0.25)
        watch.stop()
        found = site.files()
        published = sum(file["published"] for file in found)
        if published != records or any(file["state"] != "published" for file in found):
            raise SystemExit(f"published {published} of {records}: {found}")
        took = site.last_time("records") - watch.said_at("file arrived")
        what = f"{files} file{'s' if 1 < files else ''}, {accounts:,} accounts"
        rate = table.add(f"batchless watch: {what}", records, took, watch)

        process = site.start("process")
        counted = []

        def is_applied():
            counted.append((time.time(), site.applied()))
            return records <= counted[-1][1]

        until(is_applied, process, 0.1)
        first = next(when for when, count in counted if 0 < count)
        begun = max([when for when, count in counted if when < first], default=process.begun)
        took = counted[-1][0] - begun
        quiet = {"end": 0, "since": time.time()}

        def is_published():
            end = site.ends("postings")
            if end != quiet["end"]:
                quiet.update(end=end, since=time.time())
            return records < end and 1.5 < time.time() - quiet["since"]

        until(is_published, process, 0.25)
        process.stop()
        postings = site.last_time("postings") - begun
        note = f"postings on Kafka after {postings:.2f} s"
        applied = table.add(f"batchless process: {what}", records, took, process, note)
        return rate, applied
    finally:
        site.end()


def plain_sql(table, records):
    """COPY, one INSERT … SELECT, one UPDATE … FROM: no sequence, no outbox, no state of files."""
    name = f"bench-{os.getpid()}-sql"
    sql(f'CREATE DATABASE "{name}"')
    folder = Path(tempfile.mkdtemp(prefix="batchless-bench-"))
    os.chmod(folder, 0o755)
    try:
        rows = folder / "rows.csv"
        with open(rows, "w") as out:
            for number in range(records):
                out.write(f"T{number:010d},A{number * 7919 % ACCOUNTS:09d},{number % 1000 + 100}\n")
        sql("CREATE TABLE account (id text PRIMARY KEY, balance int8 NOT NULL)", name)
        sql(f"INSERT INTO account SELECT 'A' || lpad(i::text, 9, '0'), 0 "
            f"FROM generate_series(0, {ACCOUNTS - 1}) i", name)
        sql("CREATE TABLE posting (id text PRIMARY KEY, account text NOT NULL, "
            "amount int8 NOT NULL)", name)
        sql("CREATE UNLOGGED TABLE staging (id text, account text, amount int8)", name)
        script = folder / "script.sql"
        script.write_text(f"""
\\copy staging from '{rows}' with (format csv)
BEGIN;
INSERT INTO posting SELECT * FROM staging;
UPDATE account a SET balance = balance + s.t
  FROM (SELECT account, sum(amount) t FROM staging GROUP BY 1) s WHERE s.account = a.id;
COMMIT;
""")
        url = f"{POSTGRES.rsplit('/', 1)[0]}/{name}"
        copy = Process("psql", url, "-q", "-v", "ON_ERROR_STOP=1", "-f", str(script),
                       log=folder / "log")
        table.add("plain SQL in one statement", records, copy.wait(), copy,
                  "no outbox, nothing to resume")
    finally:
        sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        shutil.rmtree(folder)


def transaction_each(table, seconds=10):
    """One transaction a record, all on one account: what a hot row costs the usual way."""
    name = f"bench-{os.getpid()}-hot"
    sql(f'CREATE DATABASE "{name}"')
    folder = Path(tempfile.mkdtemp(prefix="batchless-bench-"))
    try:
        sql("CREATE TABLE account (id text PRIMARY KEY, debits int8, credits int8, version int8) "
            "WITH (fillfactor = 50)", name)
        sql("INSERT INTO account VALUES ('hot', 0, 0, 0)", name)
        sql("CREATE TABLE posting (number bigserial PRIMARY KEY, account text, amount int8)", name)
        script = folder / "script.sql"
        script.write_text("""BEGIN;
UPDATE account SET debits = debits + 100, version = version + 1 WHERE id = 'hot';
INSERT INTO posting (account, amount) VALUES ('hot', 100);
COMMIT;
""")
        url = f"{POSTGRES.rsplit('/', 1)[0]}/{name}"
        best = 0
        for clients in (1, 4, 16):
            said = run("pgbench", "-n", "-M", "prepared", "-f", str(script), "-c", str(clients),
                       "-j", "1", "-T", str(seconds), url)
            count = int(re.search(r"actually processed: (\d+)", said)[1])
            rate = table.add(f"one transaction a record, one hot row, {clients} clients", count,
                             seconds)
            best = max(best, rate)
        return best
    finally:
        sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        shutil.rmtree(folder)


def kcat(table, binaries, records):
    """The lines of a file as they are: what the client library and the broker can take."""
    topic = f"bench-{os.getpid()}-kcat"
    folder = Path(tempfile.mkdtemp(prefix="batchless-bench-"))
    script = HERE.parents[1] / "engines" / "kafka.sh"
    run(script, "topics", "--create", "--topic", topic, "--partitions", str(SHARDS))
    try:
        path = folder / "file.ach"
        run(Path(binaries) / "bench", "generate", "nacha", str(records), str(ACCOUNTS), "1", path)
        sends = Process("kcat", "-P", "-b", KAFKA, "-t", topic, "-z", "lz4", "-X", "acks=all", "-X",
                        "enable.idempotence=true", "-X", "linger.ms=5", "-l", str(path),
                        log=folder / "log")
        table.add("kcat: bare lines, acks=all", records, sends.wait(), sends,
                  "nothing read, nothing proved")
    finally:
        subprocess.run([script, "topics", "--delete", "--topic", topic], capture_output=True)
        shutil.rmtree(folder)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("records", nargs="?", type=int, default=1_000_000)
    arguments.add_argument("--binaries", required=True)
    arguments.add_argument("--lines", default="", help="more lines of the configuration")
    arguments.add_argument("--peers", type=Path, help="where the programs of others are")
    arguments.add_argument(
        "--only", action="append", help="files, one, hot, large, sql, hot-row, kcat, bento, spring")
    options = arguments.parse_args()
    records, binaries, table = options.records, options.binaries, Table()

    def is_wanted(name):
        return options.only is None or name in options.only

    try:
        if is_wanted("kcat"):
            kcat(table, binaries, records)
        uniform = hot = each = None
        if is_wanted("files"):
            uniform = halves(table, binaries, records, ACCOUNTS, 10, "files", options.lines)
        if is_wanted("one"):
            halves(table, binaries, records, ACCOUNTS, 1, "one", options.lines)
        if is_wanted("hot"):
            hot = halves(table, binaries, records, 1, 10, "hot", options.lines)
        if is_wanted("large"):
            halves(table, binaries, 5 * records, ACCOUNTS, 1, "large", options.lines)
        if is_wanted("sql"):
            plain_sql(table, records)
        if is_wanted("hot-row"):
            each = transaction_each(table)
        if options.peers:
            import peers  # Needs what is here.

            if is_wanted("bento"):
                peers.bento(table, records, options.peers)
            if is_wanted("spring"):
                peers.spring_batch(table, records, options.peers)
    finally:
        print(table)
    if uniform and hot:
        print(f"\none hot account / uniform: {hot[1] / uniform[1]:.2f}")
    if hot and each:
        print(f"one hot account / one transaction a record: {hot[1] / each:.0f} times")


if __name__ == "__main__":
    main()
