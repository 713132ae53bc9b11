//! What a call touches, by the parameters in its path.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sidetrail_record::Resource;

use crate::{redact::Redactor, route::Parameter};

/// CloudTrail's selectors compare ARNs up to here. A longer one is left out: cut, it would name something else.
const MAX_ARN: usize = 2048;

/// All but RFC 3986's unreserved characters: `/`, `:`, `*` and braces of a value mean nothing in an ARN.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Names that the collector fills in: where an application runs is not its own to say.
const LATER: [&str; 2] = ["account", "region"];

/// The type and the ARN of something that calls of a route touch: see [`Rule::resource`](crate::Rule::resource).
///
/// The ARN is a template: `{id}` is the path parameter `id`, percent-encoded unless it consists of letters, digits and
/// `-._~`, and hidden if redaction hides it. `{account}` and `{region}` are filled in by the collector. If the route has
/// no such parameter, the resource is left out and [`Coverage`](crate::Coverage) says so.
///
/// ```
/// use sidetrail::ResourceTemplate;
///
/// let line = ResourceTemplate::new(
///     "AWS::Orders::Line",
///     "arn:aws:orders:{region}:{account}:order/{id}/line/{line}",
/// );
/// # drop(line);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceTemplate {
    kind: String,
    arn: String,
    parts: Vec<Part>,
    /// A brace has no partner, or a placeholder no name.
    malformed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Parameter(String),
}

impl ResourceTemplate {
    /// `kind` is CloudTrail's `type`, of the form `AWS::Orders::Order`.
    pub fn new(kind: impl Into<String>, arn: impl Into<String>) -> Self {
        let (kind, arn) = (kind.into(), arn.into());
        let parts = parse(&arn);
        Self { malformed: parts.is_none(), parts: parts.unwrap_or_default(), kind, arn }
    }

    /// Why a route with these parameters has no such resource, if it has none.
    pub(crate) fn problem(&self, template: &str) -> Option<String> {
        if self.malformed {
            return Some(format!("`{}` has a brace without partner", self.arn));
        }
        let known = crate::route::names(template);
        let unknown = self.names().find(|name| !known.contains(name))?;
        Some(format!("`{}` needs a path parameter `{unknown}`", self.arn))
    }

    /// The resource of one call. `None` if a parameter is missing or the ARN would be too long.
    pub(crate) fn fill(&self, parameters: &[Parameter<'_>], redactor: &Redactor) -> Option<Resource> {
        let mut arn = String::with_capacity(self.arn.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => arn.push_str(text),
                Part::Parameter(name) => {
                    let (_, value) = parameters.iter().find(|(known, _)| known == name)?;
                    let value = match value {
                        Some(value) => redactor.value(name, Cow::Borrowed(&**value)),
                        None => Cow::Borrowed(sidetrail_record::redact::HIDDEN),
                    };
                    if value.is_empty() {
                        return None;
                    }
                    arn.extend(utf8_percent_encode(&value, RESERVED));
                }
            }
        }
        let fits = !self.malformed && arn.len() <= MAX_ARN;
        fits.then(|| Resource { kind: Some(self.kind.clone()), arn: Some(arn), ..Resource::default() })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Parameter(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
}

/// The parts of a template; `None` if it is malformed.
fn parse(arn: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = arn;
    while let Some(brace) = rest.find(['{', '}']) {
        let (before, placeholder) = rest.split_at(brace);
        let (name, after) = placeholder.strip_prefix('{')?.split_once('}')?;
        if name.is_empty() || name.contains('{') {
            return None;
        }
        text.push_str(before);
        if LATER.contains(&name) {
            text.extend(["{", name, "}"]);
        } else {
            parts.push(Part::Text(std::mem::take(&mut text)));
            parts.push(Part::Parameter(name.to_owned()));
        }
        rest = after;
    }
    text.push_str(rest);
    parts.push(Part::Text(text));
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(arn: &str, parameters: &[(&str, Option<&str>)]) -> Option<String> {
        let parameters: Vec<Parameter<'_>> =
            parameters.iter().map(|(name, value)| (*name, value.map(Cow::Borrowed))).collect();
        ResourceTemplate::new("AWS::Orders::Order", arn).fill(&parameters, &Redactor::default())?.arn
    }

    #[test]
    fn parameters_fill_placeholders_and_nothing_else() {
        for (arn, value, expected) in [
            ("arn:aws:o:{region}:{account}:order/{id}", "17", Some("arn:aws:o:{region}:{account}:order/17")),
            ("{id}", "a-b.c_d~e", Some("a-b.c_d~e")),
            ("{id}/{id}", "x", Some("x/x")),
            ("{id}", "{account}", Some("%7Baccount%7D")),
            ("{id}", "a:b/c*?d e%", Some("a%3Ab%2Fc%2A%3Fd%20e%25")),
            ("{id}", "ü", Some("%C3%BC")),
            ("{id}", "", None),
            ("{other}", "17", None),
            ("order", "17", Some("order")),
            ("{id", "17", None),
            ("id}", "17", None),
            ("{}", "17", None),
            ("{{id}}", "17", None),
        ] {
            assert_eq!(fill(arn, &[("id", Some(value))]).as_deref(), expected, "{arn} {value}");
        }
    }

    #[test]
    fn secrets_are_hidden() {
        let hidden = Some("HIDDEN_DUE_TO_SECURITY_REASONS");
        assert_eq!(fill("{token}", &[("token", Some("abc"))]).as_deref(), hidden);
        assert_eq!(fill("{id}", &[("id", None)]).as_deref(), hidden);
    }

    #[test]
    fn an_arn_that_is_too_long_is_left_out() {
        assert!(fill("{id}", &[("id", Some(&"x".repeat(MAX_ARN)))]).is_some());
        assert_eq!(fill("{id}", &[("id", Some(&"x".repeat(MAX_ARN + 1)))]), None);
    }

    #[test]
    fn problems_are_told() {
        let problem = |arn: &str| ResourceTemplate::new("AWS::O::O", arn).problem("/a/{id}/{*rest}");
        assert_eq!(problem("{id}{rest}{account}"), None);
        assert_eq!(problem("{order}").unwrap(), "`{order}` needs a path parameter `order`");
        assert_eq!(problem("{id").unwrap(), "`{id` has a brace without partner");
    }
}
