//! What some routes do differently from the rest.

use http::Method;

use crate::{Builder, Rule};

impl Builder {
    /// What one route does differently. The template is the router's: `/orders/{id}/refund`; for gRPC it is the path. A
    /// rule for GET holds for HEAD, too. Given twice, the last one counts.
    ///
    /// Where no router says which route a request took, as with hyper alone, these templates do: a path that fits one
    /// goes by it, the most specific first.
    pub fn route(mut self, method: Method, template: impl AsRef<str>, rule: Rule) -> Self {
        self.rules.set(Some(method), template.as_ref(), rule);
        self
    }

    /// As [`route`](Self::route), for many.
    ///
    /// ```
    /// use http::Method;
    /// use sidetrail::{AuditLayer, Level, MemorySink, Rule};
    ///
    /// let layer = AuditLayer::builder("orders.example.com")
    ///     .routes([
    ///         (Method::GET, "/health", Rule::new().level(Level::None)),
    ///         (Method::POST, "/orders/find", Rule::new().name("SearchOrders").read_only(true)),
    ///     ])
    ///     .sink(MemorySink::default())
    ///     .build()?;
    /// # drop(layer);
    /// # Ok::<(), sidetrail::BuildError>(())
    /// ```
    pub fn routes<T: AsRef<str>>(self, rules: impl IntoIterator<Item = (Method, T, Rule)>) -> Self {
        rules
            .into_iter()
            .fold(self, |builder, (method, template, rule)| builder.route(method, template, rule))
    }

    /// What every method of a route does differently: the resource that they are all about, say. Where
    /// [`route`](Self::route) says something else of one of them, that counts.
    ///
    /// ```
    /// use sidetrail::{AuditLayer, MemorySink, ResourceTemplate, Rule};
    ///
    /// let order = ResourceTemplate::new("AWS::Orders::Order", "arn:aws:orders:{region}:{account}:order/{id}");
    /// let layer = AuditLayer::builder("orders.example.com")
    ///     .route_any("/orders/{id}", Rule::new().resource(order.clone()))
    ///     .route_any("/orders/{id}/refund", Rule::new().resource(order))
    ///     .sink(MemorySink::default())
    ///     .build()?;
    /// # drop(layer);
    /// # Ok::<(), sidetrail::BuildError>(())
    /// ```
    pub fn route_any(mut self, template: impl AsRef<str>, rule: Rule) -> Self {
        self.rules.set(None, template.as_ref(), rule);
        self
    }
}
