"""What others take for the two halves: Bento from rows to events, Spring Batch from rows to balances.

Both read the same rows; neither keeps count of what it has done of a file (Bento) or says what it has
posted (Spring Batch). Their programs are built by ./run where ../shared/peers lies beside the project.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from measure import ACCOUNTS, HERE, KAFKA, POSTGRES, SHARDS, Process, run, sql, until

COLUMNS = ["id", "account", "amount", "currency", "date", "code", "ref", "merchant", "city", "country"]
SCHEMA = ", ".join(f'{{ "name": "{column}", "type": "string" }}' for column in COLUMNS)


def rows(path, records):
    """Rows of some 120 bytes, as many accounts as the files of the other half have."""
    with open(path, "w") as out:
        out.write(",".join(COLUMNS) + "\n")
        for number in range(records):
            out.write(
                f"T{number:010d},A{number * 7919 % ACCOUNTS:09d},{number % 1000 + 100}.00,USD,"
                f"2026-10-01,05,REF{number * 7919:032d},MERCHANT {number % 90000:05d} LTD,"
                f"SAO PAULO,BR\n"
            )


def bento(table, records, programs):
    """Rows → Avro on Kafka, tuned: batches of a thousand, keyed by account, acks=all."""
    topic = f"bench-{os.getpid()}-bento"
    folder = Path(tempfile.mkdtemp(prefix="batchless-bench-"))
    script = HERE.parents[1] / "engines" / "kafka.sh"
    run(script, "topics", "--create", "--topic", topic, "--partitions", str(SHARDS))
    try:
        rows(folder / "rows.csv", records)
        config = folder / "bento.yaml"
        config.write_text(f"""
http: {{ enabled: false }}
logger: {{ level: WARN }}
input:
  csv: {{ paths: [ {folder}/rows.csv ], batch_count: 1000 }}
pipeline:
  threads: -1
  processors:
    - mapping: |
        meta acct = this.account
        root = this
    - avro:
        operator: from_json
        encoding: binary
        schema: '{{ "type": "record", "name": "R", "fields": [ {SCHEMA} ] }}'
output:
  kafka_franz:
    seed_brokers: [ "{KAFKA}" ]
    topic: {topic}
    key: ${{! @acct }}
    partitioner: murmur2_hash
    compression: lz4
    idempotent_write: true
    max_in_flight: 10
""")
        sends = Process(str(programs / "bento-min"), "-c", str(config), log=folder / "log")
        table.add("Bento: rows to Avro on Kafka", records, sends.wait(), sends,
                  "start included; after a crash, all again")
    finally:
        subprocess.run([script, "topics", "--delete", "--topic", topic], capture_output=True)
        shutil.rmtree(folder)


def spring_batch(table, records, programs):
    """Rows → postings and balances in PostgreSQL, in chunks of a thousand."""
    name = f"bench-{os.getpid()}-spring"
    sql(f'CREATE DATABASE "{name}"')
    folder = Path(tempfile.mkdtemp(prefix="batchless-bench-"))
    try:
        rows(folder / "rows.csv", records)
        sql("CREATE TABLE account (id text PRIMARY KEY, balance numeric(18,2) NOT NULL DEFAULT 0)",
            name)
        sql(f"INSERT INTO account SELECT 'A' || lpad(i::text, 9, '0'), 0 "
            f"FROM generate_series(0, {ACCOUNTS - 1}) i", name)
        sql("CREATE TABLE posting (id text PRIMARY KEY, account text NOT NULL, "
            "amount numeric(18,2) NOT NULL, ref text NOT NULL)", name)
        user, password = POSTGRES.split("://")[1].split("@")[0].split(":")
        host = POSTGRES.split("@")[1].split("/")[0]
        environment = {
            "PG_URL": f"jdbc:postgresql://{host}/{name}?reWriteBatchedInserts=true",
            "SPRING_DATASOURCE_USERNAME": user,
            "SPRING_DATASOURCE_PASSWORD": password,
        }
        jar = str(programs / "springbatch-1.jar")
        job = Process("java", "-Xms256m", "-Xmx512m", "-jar", jar, f"file={folder}/rows.csv", "run=1",
                      log=folder / "log", environment=environment)

        def posted():
            return int(sql("SELECT count(*) FROM posting", name))

        until(lambda: 0 < posted(), job, 0.2)
        table.add("Spring Batch: rows to balances", records, job.wait(), job,
                  "start included; no events, no outbox")
        if posted() != records:
            raise SystemExit(f"Spring Batch posted {posted()} of {records}")
    finally:
        sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        shutil.rmtree(folder)
