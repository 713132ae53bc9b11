"""Checks Kubernetes manifests against the API's published schemas: `validate.py VERSION < manifests.yaml`.

Prints one JSON object a line for each: kind, name, and what is wrong, if anything. Kinds of custom resources have no schema
among these: they are printed with "schema": false.
"""

import json
import sys

import kubernetes_validate
import yaml

version = sys.argv[1]
for document in yaml.safe_load_all(sys.stdin):
    if document is None:
        continue
    told = {
        "apiVersion": document.get("apiVersion"),
        "kind": document.get("kind"),
        "name": document.get("metadata", {}).get("name"),
        "schema": True,
        "problem": None,
    }
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        told["schema"] = False
    except kubernetes_validate.ValidationError as error:
        told["problem"] = f"{'/'.join(str(part) for part in error.path)}: {error.message}"
    print(json.dumps(told))
