"""Reads the archive of a demo as any newcomer could: Python 3, its standard library, and the documented formats.

usage: python3 read_archive.py DIRECTORY SECRET…

DIRECTORY has `bucket` and `keys`. Every SECRET, and whatever looks like a token, must be nowhere in the bucket. Prints
one line for each thing that is wrong; exits with 1 if there is any.
"""

import base64
import binascii
import hashlib
import json
import os
import re
import sys
import zlib

HOME = r"^(?:.+/)?AWSLogs/(?:o-[a-z0-9]{10,32}/)?(?P<account>\d{12})/"
DAY = r"(?P<region>[a-z0-9-]+)/(?P<year>\d{4})/(?P<month>\d{2})/(?P<day>\d{2})/"
MINUTE = r"(?P=region)_(?P=year)(?P=month)(?P=day)T(?:[01]\d|2[0-3])[0-5]\dZ_[0-9A-Za-z]{16}"
LOG = re.compile(HOME + "CloudTrail/" + DAY + "(?P=account)_CloudTrail_" + MINUTE + r"\.json\.gz$")
MANIFEST = re.compile(
    HOME + "Sidetrail-Manifest/" + DAY + "(?P=account)_Sidetrail-Manifest_" + MINUTE + r"\.json$"
)
KEY = re.compile(HOME + r"Sidetrail-Key/[0-9a-f]{64}\.json$")
# By this the CloudTrail Processing Library knows a log file.
LIBRARY = re.compile(r".+_CloudTrail_[\w\-]+_\d{8}T\d{4}Z_[\w]+\.json\.gz")

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
TIME = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")
HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
# The members that every CloudTrail record has. The last two may be null.
ALWAYS = {
    "eventVersion": str, "userIdentity": dict, "eventTime": str, "eventSource": str, "eventName": str,
    "awsRegion": str, "sourceIPAddress": str, "eventID": str, "eventType": str, "eventCategory": str,
    "requestParameters": (dict, type(None)), "responseElements": (dict, type(None)),
}

# Who made the requests of the demo, by number.
CALLERS = {
    "anonymous": [1, 2, 3, 6, 7, 13, 17, 18],
    "alice": [4, 9, 11, 12, 15, 16, 19],
    "bob": [5, 8, 10],
    "support as bob": [14],
}
# The parameters in which it sent secrets.
SECRET_PARAMETERS = {
    1: "password", 2: "password", 3: "password", 4: "cardNumber", 13: "password", 18: "token",
}

TOKENS = {
    "a JSON web token": re.compile(r"eyJ[\w-]*\.[\w-]+\.|eyJhbGciOi|eyJ0eXAiOi"),
    "a bearer token": re.compile(r"(?i)bearer[\s:=\"]+[\w.~+/-]"),
    "an authorization header": re.compile(r"(?i)authorization"),
}
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")

wrong = []


def check(holds, *what):
    if not holds:
        wrong.append(" ".join(map(str, what)))
    return holds


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def inflate(key, stored):
    """The content of exactly one gzip member."""
    stream = zlib.decompressobj(wbits=31)
    content = stream.decompress(stored)
    check(stream.eof and not stream.unused_data, key, "is not exactly one gzip member")
    return content


def envelope(key, stored, kind):
    """The payload of a DSSE envelope, and the id of the key that signed it."""
    outer = json.loads(stored)
    check(outer["payloadType"] == f"application/vnd.sidetrail.{kind}.v1+json", key, "is", outer["payloadType"])
    check(len(outer["signatures"]) == 1, key, "has", len(outer["signatures"]), "signatures")
    signature = outer["signatures"][0]
    check(len(base64.b64decode(signature["sig"], validate=True)) == 64, key, "has a signature of a strange size")
    return base64.b64decode(outer["payload"], validate=True), signature["keyid"]


def decoded(text, depth=2):
    """The text, and what hides in it as base64, at any offset of a run."""
    yield text
    for run in BASE64.findall(text) if depth else []:
        run = run.rstrip("=").replace("-", "+").replace("_", "/")
        for start in range(4):
            part = run[start:]
            part = part[: len(part) - (len(part) % 4 == 1)]
            try:
                plain = base64.b64decode(part + "=" * (-len(part) % 4))
            except binascii.Error:
                continue
            yield plain.decode("latin-1")
            if start == 0:
                yield from decoded(plain.decode("latin-1"), depth - 1)


def check_secrets(key, text, secrets):
    for plain in decoded(text):
        for secret in secrets:
            check(secret not in plain, key, "holds the secret", secret)
    # The base64 of any JSON object begins as a token does, so these are looked for in plain text only.
    for name, pattern in TOKENS.items():
        found = pattern.search(text)
        check(not found, key, "holds", name + ":", found and text[found.start() :][:40])


def check_record(key, record):
    for member, kind in ALWAYS.items():
        check(member in record, key, "has a record without", member)
        check(isinstance(record.get(member), kind), key, "has a record whose", member, "is", record.get(member))
    check(record["eventVersion"] == "1.11", key, "has eventVersion", record["eventVersion"])
    check(TIME.match(record["eventTime"]), key, "has eventTime", record["eventTime"])
    check(UUID.match(record["eventID"]), key, "has eventID", record["eventID"])
    check(record["recipientAccountId"] == LOG.match(key)["account"], key, "has a record of another account")
    check(record["awsRegion"] == LOG.match(key)["region"], key, "has a record of another region")


def check_caller(caller, record):
    """Who acted, in the words of CloudTrail."""
    who, number = record["userIdentity"], record["requestID"]
    issuer = who.get("sessionContext", {}).get("sessionIssuer", {})
    if caller == "anonymous":
        expected = ("Unknown", None, None)
        check(who["principalId"] == "anonymous", number, "has principalId", who["principalId"])
    elif caller == "support as bob":
        expected = ("WebIdentityUser", "bob", "support")
    else:
        expected = ("WebIdentityUser", caller, None)
    found = (who["type"], who.get("userName"), issuer.get("userName"))
    check(found == expected, number, "was made by", caller, "and has the identity", json.dumps(who))


def main(directory, secrets):
    bucket = os.path.join(directory, "bucket")
    files = {}
    for folder, _, names in os.walk(bucket):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                files[os.path.relpath(path, bucket).replace(os.sep, "/")] = file.read()

    logs = {key: inflate(key, stored) for key, stored in files.items() if LOG.match(key)}
    manifests = {key: envelope(key, stored, "manifest") for key, stored in files.items() if MANIFEST.match(key)}
    keys = {key: envelope(key, stored, "key") for key, stored in files.items() if KEY.match(key)}
    check(logs and manifests and keys, "a kind of file is missing in", sorted(files))
    for key in files:
        check(key in logs or key in manifests or key in keys, key, "is of no known form")
        check(bool(LIBRARY.fullmatch(key)) == (key in logs), key, "is taken for what it is not")

    published = {}
    for key, (payload, signer) in keys.items():
        payload = json.loads(payload)
        der = base64.b64decode(payload["publicKey"], validate=True)
        check(payload["object"] == key, key, "says that it is", payload["object"])
        check(sha256(der) == signer and key.endswith(f"/{signer}.json"), key, "is not named by its own key")
        published[signer] = der
    with open(os.path.join(directory, "keys")) as file:
        pem = re.findall(r"-----BEGIN PUBLIC KEY-----([\s\S]*?)-----END PUBLIC KEY-----", file.read())
    pem = sorted(base64.b64decode("".join(text.split())) for text in pem)
    check(pem == sorted(published.values()), "the file of keys does not hold the published keys")

    stated = {}
    for key, (payload, signer) in manifests.items():
        manifest = json.loads(payload)
        check(signer in published, key, "is signed by a key that is not published:", signer)
        check(manifest["manifest"] == key, key, "says that it is", manifest["manifest"])
        entry = manifest["logFile"]
        if entry is None:
            continue
        log = entry["key"]
        check(log not in stated, log, "is stated twice")
        stated[log] = entry
        if not check(log in logs, log, "is stated and is not there"):
            continue
        content = logs[log]
        found = {
            "key": log,
            "sha256": sha256(files[log]),
            "size": len(files[log]),
            "contentSha256": sha256(content),
            "contentSize": len(content),
            "records": len(json.loads(content)["Records"]),
        }
        for name, value in found.items():
            check(entry[name] == value, log, "has", name, value, "and its manifest states", entry[name])
    for key in logs:
        check(key in stated, key, "is stated by no manifest")

    records, ids = {}, set()
    for key, content in logs.items():
        check(content.startswith(b'{"Records":['), key, "does not begin with its records")
        check(list(json.loads(content)) == ["Records"], key, "holds more than records")
        for record in json.loads(content)["Records"]:
            check_record(key, record)
            check(record["eventID"] not in ids, record["eventID"], "is there twice")
            ids.add(record["eventID"])
            records.setdefault(record.get("requestID"), []).append(record)

    expected = {f"demo-{number:02}" for number in range(1, 20)}
    check(set(records) == expected, "requests without, or records without:", set(records) ^ expected)
    for number, found in records.items():
        check(len(found) == 1, number, "has", len(found), "records")
    for caller, numbers in CALLERS.items():
        for number in numbers:
            for record in records.get(f"demo-{number:02}", []):
                check_caller(caller, record)
    for number, name in SECRET_PARAMETERS.items():
        for record in records.get(f"demo-{number:02}", []):
            value = (record["requestParameters"] or {}).get(name)
            check(value == HIDDEN, record["requestID"], "has the", name, value)

    for key, stored in files.items():
        check_secrets(key, key + "\n" + stored.decode("latin-1"), secrets)
    for key, content in logs.items():
        check_secrets(key, content.decode(), secrets)
    for key, (payload, _) in [*manifests.items(), *keys.items()]:
        check_secrets(key, payload.decode(), secrets)

    print(f"{len(logs)} log files, {len(manifests)} manifests, {len(keys)} keys, {len(ids)} records")


main(sys.argv[1], sys.argv[2:])
for problem in dict.fromkeys(wrong):
    print("WRONG:", problem)
sys.exit(1 if wrong else 0)
