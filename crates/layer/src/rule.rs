//! What one route does differently from the rest.

mod capture;
mod resource;
mod service;
mod table;

pub(crate) use self::capture::Capture;
pub use self::{resource::ResourceTemplate, service::RuleService};
pub(crate) use self::{service::LayeredRule, table::Rules};

use crate::{Delivery, Level};

/// Resources that one rule names; more than any sensible call touches by its path.
const MAX_TEMPLATES: usize = 16;

/// What one route does differently from the rest.
///
/// There are two places for it. [`Builder::route`](crate::Builder::route) and its relatives say it by method and
/// template, beside the rest of the configuration. As a [`Layer`](tower_layer::Layer) around a handler it stands beside
/// the code that it is about:
///
/// ```
/// use axum::{Router, routing::post};
/// use sidetrail::{AuditLayer, MemorySink, ResourceTemplate, Rule};
///
/// # async fn refund() {}
/// # async fn search() {}
/// let order = ResourceTemplate::new("AWS::Orders::Order", "arn:aws:orders:{region}:{account}:order/{id}");
/// let layer = AuditLayer::builder("orders.example.com").sink(MemorySink::default()).build()?;
/// let app: Router = Router::new()
///     .route("/orders/{id}/refund", post(refund).layer(Rule::new().name("RefundOrder").resource(order)))
///     .route("/orders/find", post(search).layer(Rule::new().name("SearchOrders").read_only(true).no_resource()))
///     .layer(layer);
/// # drop(app);
/// # Ok::<(), sidetrail::BuildError>(())
/// ```
///
/// Where several rules are about one call, the innermost decides, and what it leaves open the next: a rule around the
/// handler, [`Builder::route`](crate::Builder::route), [`Builder::route_any`](crate::Builder::route_any). A rule around a
/// handler counts for calls that get as far, inside of an [`AuditLayer`](crate::AuditLayer): what a middleware outside of
/// it turns away goes by the builder's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    pub(crate) name: Option<String>,
    pub(crate) level: Option<Level>,
    pub(crate) read_only: Option<bool>,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) data_event: Option<bool>,
    /// `None` is no decision, an empty list the decision that there are none.
    pub(crate) resources: Option<Vec<ResourceTemplate>>,
    pub(crate) capture: Capture,
}

impl Rule {
    /// Nothing different yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The `eventName`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How much is recorded.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Whether calls change nothing, where the method does not tell: a search by POST, say.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = Some(read_only);
        self
    }

    /// How sure calls are to be recorded.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// Whether calls work on data rather than manage things: `managementEvent` is false then and `eventCategory` is
    /// `Data`. CloudTrail readers, and trails, often leave out data events, of which there are many.
    #[must_use]
    pub fn data_event(mut self, data_event: bool) -> Self {
        self.data_event = Some(data_event);
        self
    }

    /// One more thing that calls touch, named by the path's parameters. At most 16; what depends on more than the path a
    /// handler adds with [`Audit::add_resource`](crate::Audit::add_resource).
    #[must_use]
    pub fn resource(mut self, template: ResourceTemplate) -> Self {
        let templates = self.resources.get_or_insert_default();
        if templates.len() < MAX_TEMPLATES {
            templates.push(template);
        }
        self
    }

    /// Calls touch no resource that has a name: a decision, for [`Coverage`](crate::Coverage).
    #[must_use]
    pub fn no_resource(mut self) -> Self {
        self.resources = Some(Vec::new());
        self
    }

    /// This rule, and where it leaves something open, `outer`.
    pub(crate) fn over(&self, outer: &Self) -> Self {
        Self {
            name: self.name.as_ref().or(outer.name.as_ref()).cloned(),
            level: self.level.or(outer.level),
            read_only: self.read_only.or(outer.read_only),
            delivery: self.delivery.or(outer.delivery),
            data_event: self.data_event.or(outer.data_event),
            resources: self.resources.as_ref().or(outer.resources.as_ref()).cloned(),
            capture: self.capture.over(&outer.capture),
        }
    }
}
