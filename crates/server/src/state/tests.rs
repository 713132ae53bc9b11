use std::sync::Arc;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sidetrail_archive::store::Store;

use super::versions::{Update, UpdateError, Versions};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counts(Vec<u64>);

fn versions(root: &std::path::Path) -> Versions<Counts> {
    let store = Store::open(root.to_str().unwrap(), &|_| None).unwrap();
    Versions::new(Arc::new(store), true, "Sidetrail-State/111122223333/trails".to_owned())
}

#[tokio::test]
async fn no_change_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    // Each has its own idea of what is there, as servers have.
    let servers: Vec<_> = (0..4).map(|_| versions(directory.path())).collect();
    let changes = (0..40).map(|number| {
        let server = &servers[number % servers.len()];
        server.update("test", move |counts: &mut Counts| {
            counts.0.push(number as u64);
            Ok::<_, ()>(Update::Changed(()))
        })
    });
    for result in join_all(changes).await {
        result.unwrap();
    }
    for server in &servers {
        let snapshot = server.read().await.unwrap();
        assert_eq!(snapshot.version, 40);
        let mut counts = snapshot.state.0.clone();
        counts.sort_unstable();
        assert_eq!(counts, (0..40).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_changes_nothing_stores_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = versions(directory.path());
    let same = server.update("test", |_: &mut Counts| Ok::<_, ()>(Update::Same(7))).await;
    assert_eq!(same.unwrap(), 7);
    let refused = server.update("test", |_: &mut Counts| Err::<Update<()>, _>("no")).await;
    assert!(matches!(refused, Err(UpdateError::Refused("no"))));
    assert_eq!(server.read().await.unwrap().version, 0);
}

#[tokio::test]
async fn a_state_of_another_format_is_not_guessed_at() {
    let directory = tempfile::tempdir().unwrap();
    let server = versions(directory.path());
    let changed = server.update("test", |counts: &mut Counts| {
        counts.0.push(1);
        Ok::<_, ()>(Update::Changed(()))
    });
    changed.await.unwrap();
    let path = directory.path().join("Sidetrail-State/111122223333/trails/18446744073709551614.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"format\":1", "\"format\":2")).unwrap();
    let error = versions(directory.path()).read().await.unwrap_err().to_string();
    assert!(error.contains("it says format 2 and version 1"), "{error}");
}
