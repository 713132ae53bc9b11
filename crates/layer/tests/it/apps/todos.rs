//! A todo list: JSON in and out, state behind a lock, a timeout around everything.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    BoxError, Json, Router,
    error_handling::HandleErrorLayer,
    extract::{Path, Query, State},
    http::StatusCode,
    response::IntoResponse,
    routing::{get, patch},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_http::trace::TraceLayer;

use super::{complete, layer};
use crate::loopback::{Server, empty, json, record};

#[derive(Clone, Default)]
struct Db(Arc<(AtomicU64, RwLock<BTreeMap<u64, Todo>>)>);

#[derive(Clone, Serialize)]
struct Todo {
    id: u64,
    text: String,
    completed: bool,
}

#[derive(Deserialize)]
struct Pagination {
    offset: Option<usize>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct CreateTodo {
    text: String,
}

#[derive(Deserialize)]
struct UpdateTodo {
    text: Option<String>,
    completed: Option<bool>,
}

async fn index(Query(page): Query<Pagination>, State(Db(db)): State<Db>) -> impl IntoResponse {
    let todos = db.1.read().unwrap();
    let page = todos.values().skip(page.offset.unwrap_or(0)).take(page.limit.unwrap_or(usize::MAX));
    Json(page.cloned().collect::<Vec<_>>())
}

async fn create(State(Db(db)): State<Db>, Json(input): Json<CreateTodo>) -> impl IntoResponse {
    let todo = Todo { id: db.0.fetch_add(1, Ordering::Relaxed), text: input.text, completed: false };
    db.1.write().unwrap().insert(todo.id, todo.clone());
    (StatusCode::CREATED, Json(todo))
}

async fn update(
    Path(id): Path<u64>,
    State(Db(db)): State<Db>,
    Json(input): Json<UpdateTodo>,
) -> Result<impl IntoResponse, StatusCode> {
    let mut todos = db.1.write().unwrap();
    let todo = todos.get_mut(&id).ok_or(StatusCode::NOT_FOUND)?;
    todo.text = input.text.unwrap_or_else(|| todo.text.clone());
    todo.completed = input.completed.unwrap_or(todo.completed);
    Ok(Json(todo.clone()))
}

async fn delete(Path(id): Path<u64>, State(Db(db)): State<Db>) -> impl IntoResponse {
    if db.1.write().unwrap().remove(&id).is_some() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

fn app() -> Router {
    Router::new()
        .route("/todos", get(index).post(create))
        .route("/todos/{id}", patch(update).delete(delete))
        .layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(async |error: BoxError| {
                    if error.is::<tower::timeout::error::Elapsed>() {
                        StatusCode::REQUEST_TIMEOUT
                    } else {
                        StatusCode::INTERNAL_SERVER_ERROR
                    }
                }))
                .timeout(Duration::from_secs(10))
                .layer(TraceLayer::new_for_http()),
        )
        .with_state(Db::default())
}

#[tokio::test]
async fn every_call_is_named_and_complete() {
    let (layer, sink) = layer(|builder| builder);
    let server = Server::start(app().layer(layer)).await;
    let text = json!({ "text": "buy tea" });
    let done = json!({ "completed": true });
    let steps: [(_, u16, &str, &str, Value); 9] = [
        (json("POST", "/todos", &text), 201, "CreateTodo", "/todos", text.clone()),
        (empty("GET", "/todos?limit=5"), 200, "ListTodos", "/todos", json!({ "limit": "5" })),
        (
            json("PATCH", "/todos/0", &done),
            200,
            "UpdateTodo",
            "/todos/{id}",
            json!({ "id": "0", "completed": true }),
        ),
        (
            json("PATCH", "/todos/9", &done),
            404,
            "UpdateTodo",
            "/todos/{id}",
            json!({ "id": "9", "completed": true }),
        ),
        (empty("DELETE", "/todos/0"), 204, "DeleteTodo", "/todos/{id}", json!({ "id": "0" })),
        (empty("DELETE", "/todos/0"), 404, "DeleteTodo", "/todos/{id}", json!({ "id": "0" })),
        // What axum turns away before the handler.
        (json("POST", "/todos", &json!({ "no": 1 })), 422, "CreateTodo", "/todos", json!({ "no": 1 })),
        (empty("GET", "/todos?limit=x"), 400, "ListTodos", "/todos", json!({ "limit": "x" })),
        (empty("DELETE", "/todos/x"), 400, "DeleteTodo", "/todos/{id}", json!({ "id": "x" })),
    ];
    for (request, status, name, route, parameters) in steps {
        assert_eq!(server.text(request).await.0, status, "{name}");
        let record = record(&sink).await;
        complete(&record, name, route, status);
        assert_eq!(record["requestParameters"], parameters, "{name}");
        assert_eq!(record["userIdentity"]["principalId"], "anonymous");
    }
    assert_eq!(server.text(empty("PUT", "/todos")).await.0, 405);
    assert_eq!(record(&sink).await["errorCode"], "MethodNotAllowed");
    server.stop().await;
    assert!(sink.take().is_empty(), "exactly one each");
}
