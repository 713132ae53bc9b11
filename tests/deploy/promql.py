"""Reads PromQL expressions, a JSON array of texts, and prints the metrics that they name, a JSON array without repeats.

Ends with 1 where one is not PromQL. Variables of Grafana stand for what they would be.
"""

import json
import sys

import promql_parser

names = set()


def visit(expression):
    if isinstance(expression, promql_parser.VectorSelector):
        names.add(expression.name)
    return True


for text in json.load(sys.stdin):
    try:
        text = text.replace("$__rate_interval", "5m").replace("$namespace", ".*")
        promql_parser.walk(promql_parser.parse(text), visit)
    except Exception as error:
        sys.exit(f"{text}: {error}")
print(json.dumps(sorted(names)))
