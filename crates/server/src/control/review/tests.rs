use serde_json::Value;

use super::*;

/// A reviewer that has nobody to ask.
fn reviewer() -> Reviewer {
    let config = serde_norway::from_str(
        "{ audience: sidetrail, workloads: [{ namespace: '*', account: '111122223333' }] }",
    );
    Reviewer {
        config: config.unwrap(),
        url: String::new(),
        own: Mutex::default(),
        remembered: Cache::new(1),
        places: Semaphore::new(1),
        said: Mutex::default(),
    }
}

fn judged(status: &Value) -> Answer {
    reviewer().judge(serde_json::from_value(status.clone()).unwrap())
}

/// As an API server of Kubernetes 1.36 answers for the projected token of a pod.
fn believed() -> Value {
    json!({
        "authenticated": true,
        "user": {
            "username": "system:serviceaccount:prod:orders",
            "uid": "a9e4c2d0-5d0c-4f0e-8f3d-5a3a6d1c7f10",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:prod", "system:authenticated"],
            "extra": {
                "authentication.kubernetes.io/credential-id": ["JTI=0c3bb1a9-3a6c-4a0f-9d16-0c1f0e8f6d2a"],
                "authentication.kubernetes.io/node-name": ["node-1"],
                "authentication.kubernetes.io/node-uid": ["5b7f0f7e-8f0a-4a55-9b0e-2f1d5a3c9e11"],
                "authentication.kubernetes.io/pod-name": ["orders-7"],
                "authentication.kubernetes.io/pod-uid": ["0f1e2d3c-1111-2222-3333-444455556666"],
            },
        },
        "audiences": ["sidetrail"],
    })
}

#[test]
fn a_pod_is_what_the_review_says() {
    let pod = judged(&believed()).unwrap();
    assert_eq!((&*pod.namespace, &*pod.service_account), ("prod", "orders"));
    assert_eq!((&*pod.pod, &*pod.uid), ("orders-7", "0f1e2d3c-1111-2222-3333-444455556666"));
    assert_eq!(pod.node.as_deref(), Some("node-1"));
}

#[test]
fn what_is_not_said_is_not_believed() {
    let with = |pointer: &str, value: Value| {
        let mut status = believed();
        *status.pointer_mut(pointer).unwrap() = value;
        judged(&status).unwrap_err()
    };
    let pod_name = "/user/extra/authentication.kubernetes.io~1pod-name";
    assert_eq!(with("/audiences", json!([])), Unbelieved::NoAudience("sidetrail".to_owned()));
    assert_eq!(with("/audiences", json!(["api"])), Unbelieved::NoAudience("sidetrail".to_owned()));
    assert_eq!(with("/user/username", json!("alice")), Unbelieved::NoServiceAccount);
    assert_eq!(with("/user/username", json!("system:node:node-1")), Unbelieved::NoServiceAccount);
    assert_eq!(with("/user/extra", json!({})), Unbelieved::NoPod);
    assert_eq!(with(pod_name, json!([])), Unbelieved::NoPod);
    assert_eq!(with(pod_name, json!(["a", "b"])), Unbelieved::NoPod);
    assert_eq!(with("/authenticated", json!(false)), Unbelieved::Unknown);
}

#[test]
fn refusals_say_why_in_our_words() {
    for (error, expected) in [
        ("[invalid bearer token, service account token has expired]", Unbelieved::Expired),
        (
            "[invalid bearer token, token audiences [\"x\"] is invalid for the target audiences [\"sidetrail\"]]",
            Unbelieved::Audience("sidetrail".to_owned()),
        ),
        ("[invalid bearer token, service account token has been invalidated]", Unbelieved::Unknown),
        ("", Unbelieved::Unknown),
    ] {
        assert_eq!(judged(&json!({ "user": {}, "error": error })).unwrap_err(), expected, "{error}");
    }
}

#[test]
fn tokens_have_a_form_and_an_end() {
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1700000000,"aud":["sidetrail"]}"#);
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{claims}.c2ln");
    assert!(is_one(&token));
    assert_eq!(expiry(&token), Some(1_700_000_000));
    for text in ["", "a.b", "a..c", "a.b.c.d", "a b.c.d", &format!("a.b.{}", "c".repeat(MAX_TOKEN))] {
        assert!(!is_one(text), "{text}");
    }
    assert_eq!(expiry("a.b.c"), None);
    assert_eq!(expiry("abc"), None);
}
