"""Checks a YAML document against a JSON Schema: `schema.py SCHEMA.json < document.yaml`. Ends with 1 and says what is wrong."""

import json
import sys

import jsonschema
import yaml

with open(sys.argv[1], encoding="utf-8") as file:
    validator = jsonschema.Draft202012Validator(json.load(file))
problems = list(validator.iter_errors(yaml.safe_load(sys.stdin)))
for problem in problems:
    print(f"{'/'.join(str(part) for part in problem.path)}: {problem.message}", file=sys.stderr)
sys.exit(bool(problems))
