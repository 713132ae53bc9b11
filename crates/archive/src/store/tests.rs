use std::io::Read;
use std::ops::ControlFlow;

use super::*;

fn no_env(_: &str) -> Option<String> {
    None
}

fn keys(bucket: &dyn Bucket) -> Vec<String> {
    let mut keys = Vec::new();
    bucket
        .list("", &mut |entry| {
            keys.push(entry.key.to_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
    keys
}

#[tokio::test]
async fn a_directory_keeps_what_was_first() {
    let root = tempfile::tempdir().unwrap();
    let location = format!("file://{}/new/bucket", root.path().display());
    assert!(matches!(Store::open(&location, &no_env), Err(OpenError::Directory(_))));
    let store = Store::open_or_create(&location, &no_env).unwrap();

    assert_eq!(store.put_create("a/b/c.json", "one".into()).await.unwrap(), Put::Created);
    assert_eq!(store.put_create("a/b/c.json", "two".into()).await.unwrap(), Put::AlreadyExists);
    assert_eq!(store.get("a/b/c.json", 3).await.unwrap(), "one");
    assert!(store.get("a/b/c.json", 2).await.is_err());
    assert!(store.get("a/b/d.json", 2).await.unwrap_err().is_not_found());
    assert!(store.put_create("../c.json", "x".into()).await.is_err());
    assert!(store.put_create("/c.json", "x".into()).await.is_err());

    let bucket = store.bucket(tokio::runtime::Handle::current());
    assert_eq!(keys(bucket.as_ref()), ["a/b/c.json"]);
    assert_eq!(
        std::fs::read_dir(root.path().join("new/bucket/a/b")).unwrap().count(),
        1,
        "nothing staged is left"
    );
}

#[tokio::test]
async fn a_cut_off_upload_is_no_object() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("a#17"), "to").unwrap();
    let store = Store::open(root.path().to_str().unwrap(), &no_env).unwrap();
    assert!(keys(store.bucket(tokio::runtime::Handle::current()).as_ref()).is_empty());
}

#[test]
fn locations_and_variables() {
    let env = |name: &str| {
        let value = match name {
            "AWS_ENDPOINT_URL_S3" => "http://127.0.0.1:9000",
            "AWS_ENDPOINT_URL" => "https://elsewhere.example",
            "AWS_ACCESS_KEY_ID" => "known",
            "AWS_SECRET_ACCESS_KEY" => "hidden",
            "AWS_REGION" => "eu-west-1",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let store = Store::open("s3://evidence/audit/a/", &env).unwrap();
    assert_eq!(store.name(), "s3://evidence at http://127.0.0.1:9000");
    assert_eq!(store.prefix().unwrap().as_str(), "audit/a");
    assert!(!format!("{store:?}").contains("hidden"));
    assert_eq!(Store::open("s3://evidence", &env).unwrap().prefix(), None);

    assert!(matches!(Store::open("s3://evidence/a//b", &env), Err(OpenError::Prefix(_))));
    assert!(matches!(Store::open("gs://evidence", &env), Err(OpenError::Location(_))));
    assert!(matches!(Store::open("s3:///a", &env), Err(OpenError::Location(_))));
    let secret = |_: &str| Some("http://user:hidden@host".to_owned());
    let error = Store::open("s3://evidence", &secret).unwrap_err();
    assert_eq!(error.to_string(), "the endpoint of bucket evidence must not hold credentials");
    let half = |name: &str| (name == "AWS_SECRET_ACCESS_KEY").then(|| "hidden".to_owned());
    assert!(!format!("{:?}", Store::open("s3://evidence", &half).unwrap_err()).contains("hidden"));
}

#[test]
fn every_variable_is_one_the_client_knows() {
    for name in VARIABLES {
        assert!(name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().is_ok(), "{name}");
    }
}

/// Any other store than a directory goes through the runtime; memory stands in for a service.
#[test]
fn a_remote_store_reads_as_a_bucket() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let store = Store::of(Arc::new(object_store::memory::InMemory::new()));
    let put = |key, bytes: &'static str| runtime.block_on(store.put_create(key, bytes.into()));
    assert_eq!(put("a/one", "1").unwrap(), Put::Created);
    assert_eq!(put("b/two", "22").unwrap(), Put::Created);
    assert_eq!(put("b/two", "3").unwrap(), Put::AlreadyExists);

    let bucket = store.bucket(runtime.handle().clone());
    assert_eq!(keys(bucket.as_ref()), ["a/one", "b/two"]);
    let mut text = String::new();
    bucket.open("b/two").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "22");
    assert_eq!(bucket.open("b/three").map(|_| ()).unwrap_err().kind(), io::ErrorKind::NotFound);
}
