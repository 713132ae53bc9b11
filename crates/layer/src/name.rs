//! Event names from method and route, by rules that a reader can apply in the head.
//!
//! 1. Leading `/api`, `/rest` and version segments (`/v1`, `/v2beta1`) do not count.
//! 2. A segment that a parameter follows is singular, every other is as written; together they are the noun:
//!    `/customers/{id}/orders` is `CustomerOrders`.
//! 3. On an item (`/orders/{id}`) GET is `Get`, PUT, PATCH and POST are `Update`, DELETE is `Delete`: `DeleteOrder`.
//! 4. On a collection (the last segment is a plural) GET is `List`, POST is `Create` with the singular, PUT and PATCH
//!    are `Update`, DELETE is `Delete`: `ListOrders`, `CreateOrder`, `DeleteOrders`.
//! 5. A last segment that is neither is an action when POSTed to (`POST /orders/{id}/refund` is `RefundOrder`,
//!    `POST /login` is `Login`), or when it is a verb such as `export` or `search`; else a thing: `GetOrderInvoice`.
//! 6. `:cancel` at the end of a path is an action, whatever the method: `CancelOrder`.
//! 7. HEAD is named as GET. Other methods stand in front as they are: `OptionsOrders`. The root path is `Root`.

mod plural;

use http::Method;

/// Names are cut here. The longest that AWS has are around 60.
const MAX_NAME: usize = 128;

/// Segments that count; a longer path is named by its last ones.
const MAX_SEGMENTS: usize = 6;

/// Last segments that say what is done even under GET.
const VERBS: [&str; 14] = [
    "check", "compare", "count", "download", "export", "find", "lookup", "poll", "preview", "query",
    "search", "stream", "validate", "watch",
];

/// One counted segment of a route.
struct Part<'a> {
    text: &'a str,
    /// A parameter follows.
    owned: bool,
}

/// `RefundOrder` for POST and `/orders/{id}/refund`. Never empty.
pub(crate) fn derive(method: &Method, template: &str) -> String {
    let (path, action) = split_action(template);
    let parts = parts(path);
    let mut name = match parts.split_last() {
        Some((last, parents)) => match action {
            Some(action) => pascal(action) + &noun(&parts),
            None => describe(method, parents, last),
        },
        None => verb(method, "Get", "Post") + &root(path) + &action.map(pascal).unwrap_or_default(),
    };
    if name.len() > MAX_NAME {
        name.truncate(name.floor_char_boundary(MAX_NAME));
    }
    name
}

fn describe(method: &Method, parents: &[Part<'_>], last: &Part<'_>) -> String {
    let word = last.text.to_ascii_lowercase();
    let noun = |last: &str| noun(parents) + &pascal(last);
    if last.owned {
        return verb(method, "Get", "Update") + &noun(&singular(last.text));
    }
    if plural::singular(last_word(&word)).is_some() {
        return match *method {
            Method::POST => String::from("Create") + &noun(&singular(last.text)),
            _ => verb(method, "List", "Create") + &noun(last.text),
        };
    }
    let is_verb = VERBS.contains(&word.as_str()) && matches!(*method, Method::GET | Method::HEAD);
    let is_action = *method == Method::POST && !plural::is_uncountable(last_word(&word));
    if is_verb || is_action {
        return pascal(last.text) + &self::noun(parents);
    }
    verb(method, "Get", "Create") + &noun(last.text)
}

fn verb(method: &Method, get: &str, post: &str) -> String {
    match *method {
        Method::GET | Method::HEAD => get.to_owned(),
        Method::POST => post.to_owned(),
        Method::PUT | Method::PATCH => "Update".to_owned(),
        Method::DELETE => "Delete".to_owned(),
        _ => pascal(&method.as_str().to_ascii_lowercase()),
    }
}

/// `Customer` + `Orders`.
fn noun(parts: &[Part<'_>]) -> String {
    parts
        .iter()
        .map(|part| if part.owned { pascal(&singular(part.text)) } else { pascal(part.text) })
        .collect()
}

/// A route without any fixed segment is named by its parameter.
fn root(path: &str) -> String {
    let parameter = path.split('/').rfind(|segment| is_parameter(segment));
    parameter.map_or_else(|| "Root".to_owned(), |name| pascal(name.trim_matches(['{', '}', '*'])))
}

/// The fixed segments that count.
fn parts(path: &str) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if is_parameter(segment) {
            if let Some(part) = parts.last_mut() {
                part.owned = true;
            }
        } else if !(parts.is_empty() && is_prefix(segment)) && segment.contains(|c: char| c.is_alphanumeric())
        {
            parts.push(Part { text: segment, owned: false });
        }
    }
    parts.split_off(parts.len().saturating_sub(MAX_SEGMENTS))
}

/// `/orders/{id}:cancel` is `/orders/{id}` and `cancel`.
fn split_action(path: &str) -> (&str, Option<&str>) {
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    match path[last..].rfind(':') {
        // Not at the start: that is how some routers write a parameter.
        Some(colon) if colon > 0 && colon + 1 < path.len() - last => {
            (&path[..last + colon], Some(&path[last + colon + 1..]))
        }
        _ => (path, None),
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.contains('{') || segment.starts_with(':') || segment.starts_with('*')
}

fn is_prefix(segment: &str) -> bool {
    let version = |digits: &str| digits.starts_with(|c: char| c.is_ascii_digit());
    matches!(segment, "api" | "rest") || segment.strip_prefix('v').is_some_and(version)
}

/// What an id under `/order-items/` is called: `orderItemId`.
pub(crate) fn id_of(owner: &str) -> String {
    let name = pascal(&singular(owner));
    let mut chars = name.chars();
    match chars.next() {
        Some(first) => format!("{}{}Id", first.to_ascii_lowercase(), chars.as_str()),
        None => "id".to_owned(),
    }
}

/// The word that carries the plural: `items` of `order-items` and of `orderItems`.
fn last_word(lowercase: &str) -> &str {
    lowercase.rsplit(|c: char| !c.is_alphanumeric()).find(|word| !word.is_empty()).unwrap_or(lowercase)
}

/// The segment with its last word in the singular.
fn singular(segment: &str) -> String {
    let boundary = |c: char| !c.is_alphanumeric() || c.is_ascii_uppercase();
    let (start, word) = segment.rmatch_indices(boundary).next().map_or((0, segment), |(index, first)| {
        let start = if first.starts_with(char::is_alphanumeric) { index } else { index + first.len() };
        (start, &segment[start..])
    });
    match plural::singular(&word.to_ascii_lowercase()) {
        Some(singular) if word.starts_with(|c: char| c.is_ascii_uppercase()) => {
            format!("{}{}", &segment[..start], pascal(&singular))
        }
        Some(singular) => format!("{}{singular}", &segment[..start]),
        None => segment.to_owned(),
    }
}

/// `order-items`, `order_items` and `orderItems` are `OrderItems`.
fn pascal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        let mut chars = word.chars();
        out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        out.push_str(chars.as_str());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_method_and_route() {
        let table = "
            GET    /orders                            ListOrders
            HEAD   /orders                            ListOrders
            POST   /orders                            CreateOrder
            PUT    /orders                            UpdateOrders
            PATCH  /orders                            UpdateOrders
            DELETE /orders                            DeleteOrders
            OPTIONS /orders                           OptionsOrders
            GET    /orders/                           ListOrders
            GET    /orders/{id}                       GetOrder
            PUT    /orders/{id}                       UpdateOrder
            PATCH  /orders/{id}                       UpdateOrder
            POST   /orders/{id}                       UpdateOrder
            DELETE /orders/{id}                       DeleteOrder
            GET    /orders/:id                        GetOrder
            POST   /orders/{id}/refund                RefundOrder
            POST   /orders/{id}:cancel                CancelOrder
            POST   /orders:batchGet                   BatchGetOrders
            GET    /orders/{id}/invoice               GetOrderInvoice
            GET    /orders/{id}/status                GetOrderStatus
            PUT    /orders/{id}/status                UpdateOrderStatus
            POST   /orders/{id}/status                CreateOrderStatus
            GET    /orders/export                     ExportOrders
            POST   /orders/search                     SearchOrders
            GET    /customers/{id}/orders             ListCustomerOrders
            POST   /customers/{id}/orders             CreateCustomerOrder
            GET    /customers/{cid}/orders/{oid}      GetCustomerOrder
            POST   /customers/{cid}/orders/{oid}/ship ShipCustomerOrder
            GET    /api/orders                        ListOrders
            GET    /api/v1/orders/{id}                GetOrder
            GET    /v2beta1/orders/{id}               GetOrder
            GET    /api/v1                            GetRoot
            GET    /                                  GetRoot
            POST   /                                  PostRoot
            GET    /{tenant}                          GetTenant
            GET    /{tenant}/orders                   ListOrders
            GET    /files/{*path}                     GetFile
            PUT    /repos/{owner}/{name}              UpdateRepo
            GET    /statuses/{id}                     GetStatus
            POST   /statuses                          CreateStatus
            POST   /addresses                         CreateAddress
            POST   /categories                        CreateCategory
            DELETE /boxes/{id}                        DeleteBox
            POST   /people                            CreatePerson
            GET    /people                            ListPeople
            GET    /order-items/{id}                  GetOrderItem
            POST   /order_items                       CreateOrderItem
            GET    /orderItems/{id}                   GetOrderItem
            POST   /login                             Login
            GET    /health                            GetHealth
            GET    /boom                              GetBoom
            GET    /admin/users                       ListAdminUsers
            DELETE /admin/users/{id}                  DeleteAdminUser
            CONNECT /orders                           ConnectOrders
        ";
        for line in table.lines().filter(|line| !line.trim().is_empty()) {
            let [method, template, expected] =
                line.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(derive(&method.parse().unwrap(), template), expected, "{method} {template}");
        }
    }

    #[test]
    fn odd_paths_have_a_bounded_name() {
        for path in
            ["", "*", "//", "/:", "/a:", "/:a:", "/%20/", "/ü/{ü}", "/-_-", "{", "/{a", "/v", "/日本/語"]
        {
            let name = derive(&Method::GET, path);
            assert!(
                name.starts_with("Get") || name.starts_with("List") || name.starts_with('A'),
                "{path}: {name}"
            );
        }
        assert_eq!(derive(&Method::GET, &"/ü".repeat(9000)).len(), "Get".len() + MAX_SEGMENTS * "Ü".len());
        assert!(derive(&Method::GET, &format!("/{}", "ü".repeat(9000))).len() <= MAX_NAME);
    }
}
