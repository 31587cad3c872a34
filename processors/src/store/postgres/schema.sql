-- The store in PostgreSQL. One row a shard; everything else belongs to a shard.
-- Only what CockroachDB has as well: no extension, no trigger, no advisory lock, no partition.

CREATE TABLE layout (
  one INT4 PRIMARY KEY CHECK (one = 1),
  layout INT4 NOT NULL
);

CREATE TABLE ledger (
  one INT4 PRIMARY KEY CHECK (one = 1),
  name TEXT NOT NULL,
  shards INT4 NOT NULL,
  file_partitions INT4 NOT NULL,
  key_check_value TEXT NOT NULL
);

-- Each row is changed by every commit of its shard: room on the page keeps the new version there.
CREATE TABLE shards (
  shard INT4 PRIMARY KEY,
  epoch INT8 NOT NULL,
  next_offset INT8 NOT NULL,
  next_number INT8 NOT NULL
) WITH (fillfactor = 20);

-- Names are in the order of their bytes, whatever the database's collation is.
CREATE TABLE accounts (
  shard INT4 NOT NULL,
  account TEXT COLLATE "C" NOT NULL,
  state TEXT NOT NULL,
  label TEXT,
  PRIMARY KEY (shard, account)
);

-- balance = credits − debits; neither counter ever decreases. Room on the page lets an update stay
-- on it, and leave the index alone.
CREATE TABLE balances (
  shard INT4 NOT NULL,
  account TEXT COLLATE "C" NOT NULL,
  currency TEXT COLLATE "C" NOT NULL,
  exponent INT4 NOT NULL,
  debits_minor INT8 NOT NULL CHECK (debits_minor >= 0),
  credits_minor INT8 NOT NULL CHECK (credits_minor >= 0),
  version INT8 NOT NULL,
  last_number INT8 NOT NULL,
  PRIMARY KEY (shard, account, currency, exponent),
  FOREIGN KEY (shard, account) REFERENCES accounts (shard, account)
) WITH (fillfactor = 50);

-- Append only; also the outbox. body is the Avro event as it is published.
-- sequence and record_index are set where the outcome took a sequence: only these are found again,
-- by the spans.
CREATE TABLE outcomes (
  shard INT4 NOT NULL,
  number INT8 NOT NULL,
  file BYTEA,
  sequence INT8,
  record_index INT8,
  fingerprint INT8,
  body BYTEA NOT NULL,
  PRIMARY KEY (shard, number)
);

CREATE TABLE runs (
  file BYTEA NOT NULL,
  shard INT4 NOT NULL,
  state TEXT NOT NULL,
  is_blocked BOOL NOT NULL,
  next_sequence INT8 NOT NULL,
  applied INT8 NOT NULL,
  rejected INT8 NOT NULL,
  reversed INT8 NOT NULL,
  duplicates INT8 NOT NULL,
  applied_sums TEXT NOT NULL,
  rejected_sums TEXT NOT NULL,
  reversed_sums TEXT NOT NULL,
  first_number INT8,
  last_number INT8,
  reversals TEXT NOT NULL,
  is_reversing BOOL NOT NULL,
  PRIMARY KEY (file, shard),
  CHECK (next_sequence = applied + rejected),
  CHECK (reversed <= applied)
) WITH (fillfactor = 50);

-- Holds only what is under way: by it a shard that is taken finds its open work.
CREATE INDEX runs_reversing ON runs (shard, file) WHERE is_reversing;

-- Where the outcomes that took a file's sequences lie: a row a commit and file. The columns of a
-- file on a shard ascend together, so each of them finds a place in it.
CREATE TABLE spans (
  shard INT4 NOT NULL,
  file BYTEA NOT NULL,
  first_sequence INT8 NOT NULL,
  first_index INT8 NOT NULL,
  first_number INT8 NOT NULL,
  last_number INT8 NOT NULL,
  PRIMARY KEY (shard, file, first_sequence)
);

CREATE UNIQUE INDEX spans_by_index ON spans (shard, file, first_index);

CREATE UNIQUE INDEX spans_by_number ON spans (shard, file, first_number);
