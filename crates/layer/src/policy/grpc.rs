//! Which calls are gRPC's.

use http::{header, request::Parts};

use crate::route::Route;

/// Longer names are none.
const MAX_NAME: usize = 128;

/// Service and method of a gRPC call.
///
/// Anybody can send gRPC's content type. So a call is believed to be one only where the path has the form, and where the
/// router has no other idea of it: it knows nothing, or all of a service's methods together, or just this path.
pub(super) fn method_of<'a>(parts: &Parts, route: &Route, path: &'a str) -> Option<(&'a str, &'a str)> {
    let content_type = parts.headers.get(header::CONTENT_TYPE)?;
    if !content_type.as_bytes().starts_with(b"application/grpc") {
        return None;
    }
    let (service, method) = split(path)?;
    let routed = route.known().is_none_or(|template| template.ends_with("/{*rest}") || template == path);
    routed.then_some((service, method))
}

/// `/shop.v1.Orders/Refund` is `("shop.v1.Orders", "Refund")`.
fn split(path: &str) -> Option<(&str, &str)> {
    let is_name = |text: &str| {
        (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
    };
    let is_service = |text: &str| text.contains('.') || text.starts_with(|c: char| c.is_ascii_uppercase());
    let is_method = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (is_name(service) && is_name(method) && is_service(service) && is_method(method))
        .then_some((service, method))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn grpc_paths_have_two_names() {
        assert_eq!(split("/shop.v1.Orders/Refund"), Some(("shop.v1.Orders", "Refund")));
        assert_eq!(split("/Greeter/SayHello"), Some(("Greeter", "SayHello")));
        for path in ["", "/", "/a", "/a/b/c", "/a//", "//b", "/a/b%20", "a/b", "/orders/refund", "/Orders/17"]
        {
            assert_eq!(split(path), None, "{path}");
        }
    }

    #[test]
    fn a_content_type_does_not_make_a_route_a_grpc_method() {
        let request = Request::post("/shop.v1.Orders/Refund").header("content-type", "application/grpc");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let is_grpc = |route: &Route| method_of(&parts, route, parts.uri.path()).is_some();
        assert!(is_grpc(&Route::Unknown));
        assert!(is_grpc(&Route::Known("/shop.v1.Orders/{*rest}".into())));
        assert!(is_grpc(&Route::Known("/shop.v1.Orders/Refund".into())));
        assert!(!is_grpc(&Route::Known("/{tenant}/{order}".into())));
    }
}
