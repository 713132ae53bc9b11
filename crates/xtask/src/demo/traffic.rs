//! The requests of the demo: real HTTP, by people who log in, people who do not, and people who make mistakes.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Method, Request, Uri};

use super::show::Show;
use super::site::hang_up;

/// How long a caller that loses patience waits.
const PATIENCE: Duration = Duration::from_millis(200);

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Each request's own id, which its record repeats.
    pub(super) ids: Vec<String>,
    /// What must not be found again.
    pub(super) secrets: Vec<String>,
}

pub(super) fn send(base: &str, show: &Show) -> Result<Sent> {
    let config =
        Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30)));
    let mut client = Client { base, show, agent: config.build().into(), sent: Sent::default() };

    let alice = client.login("alice", "wonderland", None)?;
    let bob = client.login("bob", "builder", None)?;
    client.sent.secrets.push("not-the-password".to_owned());
    client.call(None, "POST", "/login", Some(json!({"user": "mallory", "password": "not-the-password"})))?;

    client.sent.secrets.push("4111111111111111".to_owned());
    let order = json!({"item": "tea", "quantity": 2, "cardNumber": "4111111111111111"});
    client.call(Some(&alice), "POST", "/orders", Some(order))?;
    client.call(Some(&bob), "POST", "/orders", Some(json!({"item": "bricks"})))?;
    client.call(None, "POST", "/orders", Some(json!({"item": "nothing"})))?;
    client.call(None, "GET", "/orders?owner=alice", None)?;
    client.call(Some(&bob), "GET", "/orders/1", None)?;
    client.call(Some(&alice), "PATCH", "/orders/1", Some(json!({"quantity": 3})))?;
    client.call(Some(&bob), "DELETE", "/orders/1", None)?;
    client.call(Some(&alice), "POST", "/orders/1/refund", None)?;
    client.call(Some(&alice), "POST", "/orders/1/refund", None)?;
    let support = client.login("support", "helpdesk", Some("bob"))?;
    client.call(Some(&support), "DELETE", "/orders/2", None)?;
    client.call(Some(&alice), "GET", "/orders/99", None)?;
    client.call(Some(&alice), "GET", "/orders/export", None)?;
    client.call(None, "GET", "/boom", None)?;
    client.call(None, "GET", "/wp-login.php?token=guessed-by-a-scanner", None)?;
    client.sent.secrets.push("guessed-by-a-scanner".to_owned());
    client.lose_patience(&alice)?;
    Ok(client.sent)
}

struct Client<'a> {
    base: &'a str,
    show: &'a Show,
    agent: Agent,
    sent: Sent,
}

/// Somebody who logged in.
struct Caller {
    name: String,
    token: String,
}

impl Client<'_> {
    fn login(&mut self, user: &str, password: &str, act_as: Option<&str>) -> Result<Caller> {
        let mut login = json!({"user": user, "password": password});
        if let Some(other) = act_as {
            login["actAs"] = other.into();
        }
        let answer = self.call(None, "POST", "/login", Some(login))?;
        let token = answer["token"].as_str().context("the login gave no token")?.to_owned();
        self.sent.secrets.extend([password.to_owned(), token.clone()]);
        let name = act_as.map_or_else(|| user.to_owned(), |other| format!("{user} as {other}"));
        Ok(Caller { name, token })
    }

    fn call(
        &mut self,
        caller: Option<&Caller>,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let uri: Uri = format!("{}{path}", self.base).parse()?;
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes())?).uri(uri);
        request = request.header("x-request-id", self.id()).header("user-agent", "sidetrail-demo/1");
        if let Some(caller) = caller {
            request = request.header("authorization", format!("Bearer {}", caller.token));
        }
        let mut answer = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json").body(body.to_string())?;
                self.agent.run(request)?
            }
            None => self.agent.run(request.body(())?)?,
        };
        let name = caller.map_or("anonymous", |caller| &caller.name);
        self.show.request(method, path, name, Some(answer.status().as_u16()));
        let text = answer.body_mut().read_to_string()?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A request that takes longer than its caller waits.
    fn lose_patience(&mut self, caller: &Caller) -> Result<()> {
        let request = format!(
            "POST /reports HTTP/1.1\r\nhost: orders\r\nx-request-id: {}\r\nauthorization: Bearer {}\r\n\
             user-agent: sidetrail-demo/1\r\ncontent-length: 0\r\n\r\n",
            self.id(),
            caller.token
        );
        hang_up(self.base, &request, PATIENCE)?;
        self.show.request("POST", "/reports", &caller.name, None);
        Ok(())
    }

    fn id(&mut self) -> String {
        let id = format!("demo-{:02}", self.sent.ids.len() + 1);
        self.sent.ids.push(id.clone());
        id
    }
}
