"""Newest 50 events by an attribute, of CloudTrail log files, by DuckDB: one query a line in, its seconds out."""

import json
import sys
import time

import duckdb

files, scratch = sys.argv[1:]
COLUMNS = (
    "STRUCT(eventTime VARCHAR, eventID VARCHAR, eventName VARCHAR, eventSource VARCHAR, readOnly BOOLEAN, "
    "eventCategory VARCHAR, userIdentity STRUCT(userName VARCHAR, accessKeyId VARCHAR), "
    'resources STRUCT("type" VARCHAR, ARN VARCHAR)[])[]'
)
connection = duckdb.connect()
connection.execute("SET memory_limit = '4GB'")
connection.execute(f"SET temp_directory = '{scratch}'")
for line in sys.stdin:
    where = line.strip()
    began = time.monotonic()
    rows = connection.execute(
        f"""
        SELECT r.eventTime, r.eventID FROM (
            SELECT unnest(Records) AS r
            FROM read_json('{files}', columns = {{Records: '{COLUMNS}'}}, maximum_object_size = 67108864,
                           format = 'auto', compression = 'gzip')
        )
        WHERE r.eventCategory = 'Management' AND {where}
        ORDER BY r.eventTime DESC LIMIT 50
        """
    ).fetchall()
    print(json.dumps({"seconds": time.monotonic() - began, "ids": [row[1] for row in rows]}), flush=True)
