"""Sends events by OpenTelemetry's own SDK, and by hand what is wrong: `otlp.py ENDPOINT TOKEN COUNT`."""

import gzip
import json
import logging
import sys
import time

import requests
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

logging.raiseExceptions = True
endpoint, token, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
url = f"{endpoint}/v1/logs"
bearer = {"Authorization": f"Bearer {token}"}


def send(compression, name, first, last):
    provider = LoggerProvider(resource=Resource.create({"service.name": "hr.example.com", "service.instance.id": "hr-1"}))
    exporter = OTLPLogExporter(endpoint=url, headers=bearer, compression=compression)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("hr", "2.0")
    for number in range(first, last):
        logger.emit(LogRecord(
            timestamp=time.time_ns(),
            event_name=name,
            body={"file": number, "doors": ["left", "right"], "paid": 1.5, "none": None},
            attributes={"user.id": "casey", "user.name": "Casey", "client.address": "192.0.2.7", "number": number},
        ))
    assert provider.force_flush(60_000), "not everything was taken"
    provider.shutdown()


send(Compression.Gzip, "OpenFile", 0, count)
send(Compression.NoCompression, "CloseFile", 0, 3)


def post(body, **headers):
    return requests.post(url, data=body, headers={"Content-Type": "application/x-protobuf", **bearer, **headers}, timeout=30)


def request(*names):
    made = ExportLogsServiceRequest()
    logs = made.resource_logs.add()
    attribute = logs.resource.attributes.add()
    attribute.key, attribute.value.string_value = "service.name", "hr.example.com"
    scope = logs.scope_logs.add()
    for name in names:
        record = scope.log_records.add()
        record.time_unix_nano, record.event_name = time.time_ns(), name
    return made.SerializeToString()


mixed = post(request("Kept", "", "Long" * 300))
answer = ExportLogsServiceResponse.FromString(mixed.content)
assert mixed.status_code == 200 and answer.partial_success.rejected_log_records == 2, (mixed, answer)
assert "it has no event_name" in answer.partial_success.error_message, answer
whole = post(request("Kept"))
assert whole.status_code == 200 and whole.content == b"", whole.content
by_json = requests.post(url, headers=bearer, timeout=30, json={"resourceLogs": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "hr.example.com"}}]},
    "scopeLogs": [{"logRecords": [{"timeUnixNano": str(time.time_ns()), "eventName": "Kept", "body": {"stringValue": "x"}}]}],
}]})
assert by_json.status_code == 200 and by_json.headers["content-type"] == "application/json", by_json.text

for response, status in [
    (post(request("Lost"), Authorization="Bearer not-the-token-of-anybody"), 401),
    (post(request("Lost"), Authorization="Basic abc"), 401),
    (post(b"\xff\xff\xff"), 400),
    (post(b"no gzip", **{"Content-Encoding": "gzip"}), 400),
    (post(request("Lost"), **{"Content-Encoding": "br"}), 415),
    (post(request("Lost"), **{"Content-Type": "text/plain"}), 415),
    (post(bytes(5 << 20)), 413),
    (post(gzip.compress(bytes(20 << 20)), **{"Content-Encoding": "gzip"}), 413),
    (requests.get(url, headers=bearer, timeout=30), 405),
]:
    assert response.status_code == status, (status, response.status_code, response.text)
print(json.dumps({"sent": count + 3 + 3}))
