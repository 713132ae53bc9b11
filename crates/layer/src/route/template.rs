//! Templates such as `/orders/{id}`: which paths fit them, and what their parameters are.

/// Calls `found` with the name and the raw value of each parameter.
pub(super) fn each_parameter<'a>(template: &'a str, path: &'a str, mut found: impl FnMut(&'a str, &'a str)) {
    let mut rest = path.trim_start_matches('/');
    for part in template.trim_start_matches('/').split('/') {
        if let Some((prefix, name, suffix)) = parameter(part) {
            let wildcard = name.strip_prefix('*');
            let segment = if wildcard.is_some() { rest } else { rest.split('/').next().unwrap_or(rest) };
            let value = segment.strip_prefix(prefix).and_then(|value| value.strip_suffix(suffix));
            if let Some(value) = value {
                found(wildcard.unwrap_or(name), value);
            }
        }
        rest = rest.split_once('/').map_or("", |(_, rest)| rest);
    }
}

/// The names of a template's parameters.
pub(crate) fn names(template: &str) -> Vec<&str> {
    let name = |part| parameter(part).map(|(_, name, _)| name.strip_prefix('*').unwrap_or(name));
    template.split('/').filter_map(name).collect()
}

/// Whether a router with this template would take the path.
pub(crate) fn fits(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for part in template.split('/') {
        let Some(segment) = segments.next() else { return false };
        match parameter(part) {
            Some((_, name, _)) if name.starts_with('*') => return !segment.is_empty(),
            Some((prefix, _, suffix)) => {
                let value = segment.strip_prefix(prefix).and_then(|value| value.strip_suffix(suffix));
                if value.is_none_or(str::is_empty) {
                    return false;
                }
            }
            None if part != segment => return false,
            None => {}
        }
    }
    segments.next().is_none()
}

/// Orders templates that fit one path: what is fixed comes before what is not.
pub(crate) fn specificity(template: &str) -> Vec<u8> {
    let rank = |part| match parameter(part) {
        None => 0,
        Some((_, name, _)) if name.starts_with('*') => 3,
        Some(("", _, "")) => 2,
        Some(_) => 1,
    };
    template.split('/').map(rank).collect()
}

/// `{id}.json` is `("", "id", ".json")`; `:id` is `("", "id", "")`.
fn parameter(segment: &str) -> Option<(&str, &str, &str)> {
    if let Some(name) = segment.strip_prefix(':') {
        return Some(("", name, ""));
    }
    let (prefix, rest) = segment.split_once('{')?;
    let (name, suffix) = rest.split_once('}')?;
    Some((prefix, name, suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_as_in_a_router() {
        for (template, path, expected) in [
            ("/orders", "/orders", true),
            ("/orders", "/orders/", false),
            ("/orders/{id}", "/orders/17", true),
            ("/orders/{id}", "/orders/", false),
            ("/orders/{id}", "/orders", false),
            ("/orders/{id}", "/orders/17/lines", false),
            ("/orders/{id}:cancel", "/orders/17:cancel", true),
            ("/orders/{id}:cancel", "/orders/17", false),
            ("/orders/:id", "/orders/17", true),
            ("/files/{*path}", "/files/a/b", true),
            ("/files/{*path}", "/files/", false),
            ("/", "/", true),
            ("/", "*", false),
        ] {
            assert_eq!(fits(template, path), expected, "{template} {path}");
        }
    }

    #[test]
    fn names_of_parameters() {
        assert_eq!(names("/a/{id}/b/:line/{*rest}"), ["id", "line", "rest"]);
        assert!(names("/").is_empty());
    }
}
