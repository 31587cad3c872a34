"""A subscriber as a downstream team would write it: nothing here knows batchless.

    read.py BOOTSTRAP PREFIX REGISTRY

It reads every topic whose name begins with the prefix, from its first offset to where it ends now,
committed messages only. Each value is decoded with the schema that the registry has under the id in
its framing (GET /schemas/ids/N). Each message becomes a line of JSON on standard output:

    {"topic", "partition", "offset", "key", "headers": {}, "type", "event": {}}

`type` is the full name of the schema, `event` the decoded record; both are null where the message
removes its key. Bytes are written as hexadecimal digits.
"""

import io
import json
import struct
import sys
import urllib.request

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition


class Registry:
    """The registry's schemas by id, each asked for once."""

    def __init__(self, url):
        self.url = url
        self.schemas = {}

    def by_id(self, number):
        if number not in self.schemas:
            with urllib.request.urlopen(f"{self.url}/schemas/ids/{number}", timeout=30) as answer:
                text = json.load(answer)["schema"]
            # Names of its own: two ids may hold two versions of one record.
            self.schemas[number] = fastavro.parse_schema(json.loads(text), named_schemas={})
        return self.schemas[number]


def decode(value, registry):
    """The name of a value's schema, and the record that it holds."""
    if value is None:
        return None, None
    magic, number = struct.unpack_from(">bI", value)
    if magic != 0:
        raise SystemExit(f"expected the framing 0x00 and a schema id, found {magic:#x}")
    schema = registry.by_id(number)
    body = io.BytesIO(value[5:])
    event = fastavro.schemaless_reader(body, schema)
    if body.read(1):
        raise SystemExit(f"bytes are left over behind a {schema['name']}")
    return schema["name"], event


def plain(value):
    """Bytes, dates and times as text."""
    return value.hex() if isinstance(value, bytes) else str(value)


def main():
    bootstrap, prefix, url = sys.argv[1:]
    registry = Registry(url)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            # Nothing is committed for it: it needs a name all the same.
            "group.id": f"{prefix}somebody-else",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        }
    )
    topics = consumer.list_topics(timeout=30).topics
    reading = {
        (topic, partition)
        for topic in topics
        if topic.startswith(prefix)
        for partition in topics[topic].partitions
    }
    consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in sorted(reading)])
    while reading:
        for message in consumer.consume(num_messages=1000, timeout=1):
            place = (message.topic(), message.partition())
            if message.error():
                if message.error().code() != KafkaError._PARTITION_EOF:
                    raise SystemExit(f"{place}: {message.error()}")
                reading.discard(place)
                continue
            name, event = decode(message.value(), registry)
            row = {
                "topic": place[0],
                "partition": place[1],
                "offset": message.offset(),
                "key": (message.key() or b"").decode(),
                "headers": {name: value.decode() for name, value in message.headers() or []},
                "type": name,
                "event": event,
            }
            print(json.dumps(row, default=plain))
    consumer.close()


main()
