//! Routes whose records one cannot tell apart, since they have one name.

use http::Method;

use super::{Action, Actions, Naming};

/// What a name is compared by: method, template, name, and where the name comes from.
pub(crate) type Named<'a> = (&'a str, &'a str, &'a str, Naming);

/// Whether two routes have one name without anybody having said so. HEAD is GET without the body; and rules that give a
/// name twice mean it.
pub(crate) fn collide(one: Named<'_>, other: Named<'_>) -> bool {
    let is_read = |method: &str| matches!(method, "GET" | "HEAD");
    let same_route = one.1 == other.1 && (one.0 == other.0 || is_read(one.0) && is_read(other.0));
    let meant = one.3 == Naming::Declared && other.3 == Naming::Declared;
    one.2 == other.2 && !same_route && !meant
}

/// Says once that a name is used for two routes. Only the second to come is told of; the coverage report has them all.
pub(super) fn warn(actions: &Actions, method: &Method, template: &str, action: &Action) {
    #[cfg(feature = "grpc")]
    if let Some(name) = action.fixed_name()
        && let Some(other) = only_other(actions, (method.as_str(), template, name, action.naming))
    {
        tracing::warn!(
            name,
            route = %format_args!("{method} {template}"),
            other = %other,
            "two routes have one event name: give one another with `Rule::name`"
        );
    }
    #[cfg(not(feature = "grpc"))]
    let _ = (actions, method, template, action);
}

/// The one route that was called before and has the same name, unless there are more: then that was said.
#[cfg(feature = "grpc")]
fn only_other(actions: &Actions, new: Named<'_>) -> Option<String> {
    let mut others = actions.iter().filter_map(|entry| {
        let decided = crate::policy::Decided::last(&entry.action);
        let name = decided.name.as_deref()?;
        let collides = entry.action.seen.exercised()
            && collide(new, (entry.method.as_str(), &entry.template, name, decided.naming));
        collides.then(|| format!("{} {}", entry.method, entry.template))
    });
    others.next().filter(|_| others.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_routes_of_one_name_collide() {
        use Naming::{Declared, Derived};
        for (one, other, expected) in [
            (
                ("GET", "/v1/orders", "ListOrders", Derived),
                ("GET", "/v2/orders", "ListOrders", Derived),
                true,
            ),
            (("PUT", "/o/{id}", "UpdateO", Derived), ("PATCH", "/o/{id}", "UpdateO", Derived), true),
            (("GET", "/a", "X", Declared), ("GET", "/b", "X", Derived), true),
            (("GET", "/a", "X", Declared), ("GET", "/b", "X", Declared), false),
            (("GET", "/a", "X", Derived), ("HEAD", "/a", "X", Derived), false),
            (("GET", "/a", "X", Derived), ("GET", "/a", "X", Derived), false),
            (("GET", "/a", "X", Derived), ("GET", "/b", "Y", Derived), false),
        ] {
            assert_eq!(collide(one, other), expected, "{one:?} {other:?}");
            assert_eq!(collide(other, one), expected, "{one:?} {other:?}");
        }
    }
}
