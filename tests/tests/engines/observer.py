"""A subscriber of the topics that shares no code with batchless.

    observer.py BOOTSTRAP PREFIX REGISTRY TOPIC...

It reads all partitions of the topics from their first offset on, committed messages only, while they
are being written. Every value is decoded with the schema that the registry has under the id in its
framing. Each message becomes a line of JSON on standard output:

    {"topic", "partition", "offset", "time", "id", "said", "type", "key", "value"}

`time` is when it was given to the writer, in milliseconds, `id` is the header ce_id, `said` the same made from the decoded fields (null where the type has no
rule here), `type` the name of the registry's schema, `key` and `value` are hexadecimal digits, the
value without its framing. Once standard input ends, it reads up to where the topics end then, and
ends.
"""

import io
import json
import select
import struct
import sys
import time
import urllib.request

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

SAID = {
    "ClearingRecord": lambda event: f"{event['file_id']}/{event['index']}",
    "Outcome": lambda event: f"{event['shard']}/{event['number']}",
}


class Schemas:
    """The registry's schemas by id, each asked for once."""

    def __init__(self, registry):
        self.registry = registry
        self.known = {}

    def by_id(self, number):
        if number not in self.known:
            url = f"{self.registry}/schemas/ids/{number}"
            with urllib.request.urlopen(url, timeout=30) as answer:
                text = json.load(answer)["schema"]
            # Names of its own: two ids may hold two versions of one record.
            schema = fastavro.parse_schema(json.loads(text), named_schemas={})
            self.known[number] = (json.loads(text)["name"], schema)
        return self.known[number]


def line(message, prefix, schemas):
    headers = dict(message.headers() or [])
    value = message.value()
    name = said = body = None
    if value is not None:
        magic, number = struct.unpack_from(">bI", value)
        if magic != 0:
            raise ValueError(f"{message.topic()}: a value begins with {magic}")
        name, schema = schemas.by_id(number)
        rest = io.BytesIO(value[5:])
        event = fastavro.schemaless_reader(rest, schema)
        if rest.read(1):
            raise ValueError(f"{message.topic()}: bytes are left over behind {name}")
        said = SAID[name](event) if name in SAID else None
        body = value[5:].hex()
    return json.dumps(
        {
            "topic": message.topic()[len(prefix) :],
            "partition": message.partition(),
            "offset": message.offset(),
            "time": message.timestamp()[1],
            "id": headers["ce_id"].decode(),
            "said": said,
            "type": name,
            "key": (message.key() or b"").hex(),
            "value": body,
        },
        separators=(",", ":"),
    )


def partitions_of(consumer, topics):
    deadline = time.monotonic() + 60
    while True:
        known = consumer.list_topics(timeout=10).topics
        if all(topic in known and known[topic].partitions for topic in topics):
            return [(topic, number) for topic in topics for number in known[topic].partitions]
        if time.monotonic() > deadline:
            raise SystemExit(f"not all of {topics} are there")


def main():
    bootstrap, prefix, registry, *topics = sys.argv[1:]
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{prefix}observer",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            # Brokers are killed under it, and come back.
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,
        }
    )
    wanted = partitions_of(consumer, [prefix + topic for topic in topics])
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in wanted])
    schemas = Schemas(registry)
    seen_end = {}
    ends = None
    while True:
        for message in consumer.consume(num_messages=2000, timeout=0.1):
            place = (message.topic(), message.partition())
            error = message.error()
            if error is None:
                print(line(message, prefix, schemas))
            elif error.code() == KafkaError._PARTITION_EOF:
                seen_end[place] = message.offset()
            elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise SystemExit(f"{place}: {error}")
        sys.stdout.flush()
        if ends is None and select.select([sys.stdin], [], [], 0)[0]:
            ends = {
                place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=60)[1]
                for place in wanted
            }
        if ends is not None and all(seen_end.get(place, -1) >= ends[place] for place in wanted):
            break
    consumer.close()


main()
