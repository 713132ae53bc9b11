//! The rules that a builder was given, by method and template.

use std::{collections::HashMap, sync::Arc};

use http::Method;

use super::Rule;
use crate::route;

/// Rules by template and method. Their templates are routes too, where no router says which one a request took.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    templates: HashMap<Arc<str>, Methods>,
    /// Every template, the most specific first.
    patterns: Vec<Arc<str>>,
}

#[derive(Debug, Default)]
struct Methods {
    any: Option<Rule>,
    own: Vec<(Method, Rule)>,
}

impl Rules {
    /// Sets the rule for a method, or for those that have none.
    pub(crate) fn set(&mut self, method: Option<Method>, template: &str, rule: Rule) {
        let methods = match self.templates.get_mut(template) {
            Some(methods) => methods,
            None => {
                let template: Arc<str> = template.into();
                let specific = |known: &Arc<str>| route::specificity(known) <= route::specificity(&template);
                self.patterns.insert(self.patterns.partition_point(specific), Arc::clone(&template));
                self.templates.entry(template).or_default()
            }
        };
        match method {
            None => methods.any = Some(rule),
            Some(method) => match methods.own.iter_mut().find(|(known, _)| *known == method) {
                Some((_, known)) => *known = rule,
                None => methods.own.push((method, rule)),
            },
        }
    }

    /// What is said of a method on a template. HEAD goes by what is said of GET.
    pub(crate) fn of(&self, method: &Method, template: &str) -> Option<Rule> {
        let Methods { any, own } = self.templates.get(template)?;
        let find = |method: &Method| own.iter().find(|(known, _)| known == method).map(|(_, rule)| rule);
        let own = find(method).or_else(|| find(&Method::GET).filter(|_| *method == Method::HEAD));
        match (own, any.as_ref()) {
            (Some(own), Some(any)) => Some(own.over(any)),
            (own, any) => own.or(any).cloned(),
        }
    }

    /// The template that a path fits.
    pub(crate) fn matching(&self, path: &str) -> Option<&Arc<str>> {
        self.patterns.iter().find(|template| route::fits(template, path))
    }

    /// Every method and template, without a method where the rule is for any.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Option<&Method>, &Arc<str>)> {
        self.templates.iter().flat_map(|(template, methods)| {
            let any = methods.any.iter().map(move |_| (None, template));
            methods.own.iter().map(move |(method, _)| (Some(method), template)).chain(any)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_methods_own_rule_is_over_that_for_any() {
        let mut rules = Rules::default();
        rules.set(None, "/orders/{id}", Rule::new().name("Any").data_event(true));
        rules.set(Some(Method::GET), "/orders/{id}", Rule::new().name("First"));
        rules.set(Some(Method::GET), "/orders/{id}", Rule::new().name("Second"));
        let name = |method| rules.of(&method, "/orders/{id}").unwrap().name.unwrap();
        assert_eq!([name(Method::GET), name(Method::HEAD), name(Method::POST)], ["Second", "Second", "Any"]);
        assert_eq!(rules.of(&Method::GET, "/orders/{id}").unwrap().data_event, Some(true));
        assert!(rules.of(&Method::GET, "/orders").is_none());
        assert_eq!(rules.iter().count(), 2);
    }

    #[test]
    fn a_path_takes_the_most_specific_template() {
        let mut rules = Rules::default();
        for template in
            ["/{*rest}", "/orders/{id}", "/{kind}/{id}", "/orders/find", "/orders/{id}/lines/{line}"]
        {
            rules.set(None, template, Rule::new());
        }
        for (path, expected) in [
            ("/orders/find", Some("/orders/find")),
            ("/orders/17", Some("/orders/{id}")),
            ("/boxes/17", Some("/{kind}/{id}")),
            ("/orders/17/lines/2", Some("/orders/{id}/lines/{line}")),
            ("/orders/17/lines", Some("/{*rest}")),
            ("/", None),
        ] {
            assert_eq!(rules.matching(path).map(|template| &**template), expected, "{path}");
        }
    }
}
