//! Calls that are Sidetrail's own: a path each, signed as the operations are, for whoever may do what is most like them.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use jiff::Timestamp;
use serde::Serialize;
use sidetrail::{Audit, Level, Rule};
use sidetrail_api::shape::{
    COLLECTORS_PATH, CollectorsInput, CollectorsOutput, QUERY_EVENTS_PATH, QueryEventsInput,
    QueryEventsOutput, WHO_AM_I_PATH, WhoAmIInput, WhoAmIOutput,
};
use sidetrail_api::{Code, Error, Operation, json, sigv4};
use sidetrail_archive::key::Region;

use super::answer::{answer, refuse};
use super::receive::read;
use super::recording;
use crate::Context;
use crate::access::Caller;
use crate::history::{Asked, Seconds, shown};
use crate::refusal::Refusal;

/// One of the calls.
trait Own: 'static {
    const PATH: &'static str;
    /// What it is called in records.
    const NAME: &'static str;
    /// Whose right it takes, and as what it is signed; whoever has a key may do without.
    const AS: Operation;
    const FOR_EVERYBODY: bool = false;

    fn call(
        context: &Context,
        caller: &Caller,
        body: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>, Refusal>> + Send;
}

/// What serves them.
pub(super) fn router(context: &Arc<Context>) -> Router {
    let router = add::<QueryEvents>(Router::new());
    let router = add::<ListCollectors>(router);
    let router = add::<WhoAmI>(router).with_state(Arc::clone(context));
    match &context.recorder {
        Some(recorder) => router.layer(recorder.layer.clone()),
        None => router,
    }
}

fn add<O: Own>(router: Router<Arc<Context>>) -> Router<Arc<Context>> {
    let rule = Rule::new().name(O::NAME).read_only(true).level(Level::Metadata).no_resource();
    router.route(O::PATH, post(serve::<O>).layer(rule))
}

async fn serve<O: Own>(State(context): State<Arc<Context>>, request: Request) -> Response {
    let began = Instant::now();
    let request_id = crate::state::random_id().unwrap_or_default();
    let Ok(_permit) = context.permits.try_acquire() else {
        return refuse(&request_id, &Error::new(Code::ServiceUnavailable, "Too many requests at once."));
    };
    let (parts, body) = request.into_parts();
    let audit = Audit::of(&parts.extensions);
    let result: Result<Vec<u8>, Refusal> = async {
        let body = read(body).await?;
        let request = sigv4::Request {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body: &body,
        };
        let caller = context.keys.authenticate(&request, O::AS, Timestamp::now())?;
        recording::called(&audit, &caller, &body);
        if !O::FOR_EVERYBODY {
            caller.check(O::AS)?;
        }
        O::call(&context, &caller, &body).await
    }
    .await;
    let took_ms = began.elapsed().as_millis();
    match result {
        Ok(body) => {
            tracing::info!(request_id, operation = O::NAME, took_ms, "answered");
            answer(200, &request_id, body)
        }
        Err(Refusal { error, cause }) => {
            recording::refused(&audit, &error);
            let code = error.code;
            match cause {
                Some(cause) => tracing::error!(request_id, operation = O::NAME, %code, cause, "failed"),
                None => tracing::info!(request_id, operation = O::NAME, %code, "refused"),
            }
            refuse(&request_id, &error)
        }
    }
}

fn written(output: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(output).map_err(|error| Refusal::unavailable(&error))
}

fn regions(context: &Context) -> Vec<&str> {
    context.config.regions.iter().map(Region::as_str).collect()
}

/// Event history, where `LookupEvents` is too narrow.
struct QueryEvents;

impl Own for QueryEvents {
    const PATH: &'static str = QUERY_EVENTS_PATH;
    const NAME: &'static str = "QueryEvents";
    const AS: Operation = Operation::LookupEvents;

    async fn call(context: &Context, caller: &Caller, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let input: QueryEventsInput = json::read(body)?;
        let asked = Asked::read(&input, caller.account.as_str(), &regions(context))?;
        let history = &context.kept.history;
        let page = history.find(asked.query.clone(), asked.after, asked.limit).await?;
        let events = page.events.into_iter().map(shown).collect::<Result<_, _>>();
        written(&QueryEventsOutput {
            next: page.next.map(|key| asked.next(key)),
            missing_before: page.missing_before.map(Seconds::timestamp),
            events: events.map_err(|error| Refusal::unavailable(&error))?,
        })
    }
}

/// How collectors are.
struct ListCollectors;

impl Own for ListCollectors {
    const PATH: &'static str = COLLECTORS_PATH;
    const NAME: &'static str = "ListCollectors";
    const AS: Operation = Operation::GetTrailStatus;

    async fn call(context: &Context, caller: &Caller, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let CollectorsInput { all_regions } = json::read(body)?;
        let known = context.register.of(caller.account.as_str(), Timestamp::now()).await;
        let mut collectors = known.map_err(|error| Refusal::unavailable(&error))?;
        let region = caller.region.as_str();
        collectors.retain(|collector| all_regions || collector.region == region);
        written(&CollectorsOutput { collectors })
    }
}

/// Who asks.
struct WhoAmI;

impl Own for WhoAmI {
    const PATH: &'static str = WHO_AM_I_PATH;
    const NAME: &'static str = "WhoAmI";
    const AS: Operation = Operation::DescribeTrails;
    const FOR_EVERYBODY: bool = true;

    async fn call(context: &Context, caller: &Caller, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let WhoAmIInput {} = json::read(body)?;
        written(&WhoAmIOutput {
            account: caller.account.to_string(),
            arn: caller.arn(),
            access_key: caller.access_key.clone(),
            role: caller.role.name().to_owned(),
            region: caller.region.to_string(),
            regions: regions(context).into_iter().map(str::to_owned).collect(),
            server: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}
