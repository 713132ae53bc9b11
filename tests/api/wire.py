"""Requests made by hand: for what no SDK sends."""

import datetime
import hashlib
import hmac
import http.client
import json
import urllib.parse

from conftest import REGION, SITE

LONG = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101."
SHORT = "CloudTrail_20131101."


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(secret, date, region, service, to_sign):
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = _hmac(key, part)
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


class Request:
    """A request for an operation; everything about it can be set, and is wrong only where a test makes it so."""

    def __init__(self, operation, body=b"{}", key="admin", prefix=LONG, service="cloudtrail", region=REGION, age=0):
        self.key, self.service, self.region = SITE["keys"][key], service, region
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age)
        self.time = at.strftime("%Y%m%dT%H%M%SZ")
        self.url = urllib.parse.urlsplit(SITE["endpoint"])
        self.method, self.path, self.query = "POST", "/", ""
        self.headers = {
            "content-type": "application/x-amz-json-1.1",
            "host": self.url.netloc,
            "x-amz-target": prefix + operation,
        }
        if "token" in self.key:
            self.headers["x-amz-security-token"] = self.key["token"]

    def _signature(self, headers, query):
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        digest = hashlib.sha256(self.body).hexdigest()
        canonical = f"{self.method}\n{self.path}\n{query}\n{lines}\n{names}\n{digest}"
        date = self.time[:8]
        scope = f"{date}/{self.region}/{self.service}/aws4_request"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{self.time}\n{scope}\n{hashed}"
        return names, scope, signature(self.key["secret"], date, self.region, self.service, to_sign)

    def signed(self):
        self.headers["x-amz-date"] = self.time
        names, scope, made = self._signature(self.headers, self.query)
        self.headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.key['id']}/{scope}, SignedHeaders={names}, Signature={made}"
        )
        return self

    def presigned(self, expires=60):
        scope = f"{self.time[:8]}/{self.region}/{self.service}/aws4_request"
        parameters = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.key['id']}/{scope}",
            "X-Amz-Date": self.time,
            "X-Amz-Expires": str(expires),
            "X-Amz-SignedHeaders": ";".join(sorted(self.headers)),
        }
        query = urllib.parse.urlencode(sorted(parameters.items()), quote_via=urllib.parse.quote, safe="-_.~")
        _, _, made = self._signature(self.headers, query)
        self.query = f"{query}&X-Amz-Signature={made}"
        return self

    def send(self):
        """Status, headers, and the body as JSON."""
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=30)
        target = self.path + ("?" + self.query if self.query else "")
        connection.request(self.method, target, self.body, self.headers)
        response = connection.getresponse()
        body = json.loads(response.read() or b"{}")
        headers = {name.lower(): value for name, value in response.getheaders()}
        connection.close()
        return response.status, headers, body


def code(request):
    """The code of what must be an error, and its text."""
    status, headers, body = request.send()
    assert status >= 400
    assert headers["content-type"] == "application/x-amz-json-1.1"
    assert headers["x-amzn-requestid"]
    assert set(body) == {"__type", "message"}
    return body["__type"], body["message"]
