-- The embedded store. One row a shard; everything else belongs to a shard.

CREATE TABLE ledger (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  name TEXT NOT NULL,
  shards INTEGER NOT NULL,
  file_partitions INTEGER NOT NULL,
  key_check_value TEXT NOT NULL
) STRICT;

CREATE TABLE shards (
  shard INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL,
  next_offset INTEGER NOT NULL,
  next_number INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
  shard INTEGER NOT NULL,
  account TEXT NOT NULL,
  state TEXT NOT NULL,
  label TEXT,
  PRIMARY KEY (shard, account)
) STRICT, WITHOUT ROWID;

-- balance = credits − debits; neither counter ever decreases.
CREATE TABLE balances (
  shard INTEGER NOT NULL,
  account TEXT NOT NULL,
  currency TEXT NOT NULL,
  exponent INTEGER NOT NULL,
  debits_minor INTEGER NOT NULL CHECK (debits_minor >= 0),
  credits_minor INTEGER NOT NULL CHECK (credits_minor >= 0),
  version INTEGER NOT NULL,
  last_number INTEGER NOT NULL,
  PRIMARY KEY (shard, account, currency, exponent),
  FOREIGN KEY (shard, account) REFERENCES accounts
) STRICT, WITHOUT ROWID;

-- Append only; also the outbox. body is the Avro event as it is published.
-- sequence and record_index are set where the outcome took a sequence: only these are found again,
-- by the spans.
CREATE TABLE outcomes (
  shard INTEGER NOT NULL,
  number INTEGER NOT NULL,
  file BLOB,
  sequence INTEGER,
  record_index INTEGER,
  fingerprint INTEGER,
  body BLOB NOT NULL,
  PRIMARY KEY (shard, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  file BLOB NOT NULL,
  shard INTEGER NOT NULL,
  state TEXT NOT NULL,
  is_blocked INTEGER NOT NULL,
  next_sequence INTEGER NOT NULL,
  applied INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  reversed INTEGER NOT NULL,
  duplicates INTEGER NOT NULL,
  applied_sums TEXT NOT NULL,
  rejected_sums TEXT NOT NULL,
  reversed_sums TEXT NOT NULL,
  first_number INTEGER,
  last_number INTEGER,
  reversals TEXT NOT NULL,
  is_reversing INTEGER NOT NULL,
  PRIMARY KEY (file, shard),
  CHECK (next_sequence = applied + rejected),
  CHECK (reversed <= applied)
) STRICT, WITHOUT ROWID;

-- Holds only what is under way: by it a shard that is taken finds its open work.
CREATE INDEX runs_reversing ON runs (shard, file) WHERE is_reversing = 1;

-- Where the outcomes that took a file's sequences lie: a row a commit and file. The columns of a
-- file on a shard ascend together.
CREATE TABLE spans (
  shard INTEGER NOT NULL,
  file BLOB NOT NULL,
  first_sequence INTEGER NOT NULL,
  first_index INTEGER NOT NULL,
  first_number INTEGER NOT NULL,
  last_number INTEGER NOT NULL,
  PRIMARY KEY (shard, file, first_sequence)
) STRICT, WITHOUT ROWID;
