//! Event names from method and route, by rules that a reader can apply in the head.
//!
//! The guide `naming` tells them to users; here is what the code does, in its order.
//!
//! 1. Leading `/api` and `/rest`, and versions (`/v1`, `/v2beta1`, `/2024-10-01`) before the last segment do not count;
//!    nor does the ending of a data format: `/orders.json` is `/orders`.
//! 2. A segment that a parameter follows is singular, every other is as written; together they are the noun:
//!    `/customers/{id}/orders` is `CustomerOrders`. A parent's name is not said twice: `/orders/{id}/order-lines` is
//!    `OrderLines`.
//! 3. On an item (`/orders/{id}`) GET is `Get`, PUT, PATCH and POST are `Update`, DELETE is `Delete`: `DeleteOrder`. So
//!    it is on the caller's own: `/users/me` is `CurrentUser`, `/me` is `Me`.
//! 4. On a collection (the last segment is a plural, or a word such as `inventory`) GET is `List`, POST is `Create` with
//!    the singular, PUT and PATCH are `Update`, DELETE is `Delete`: `ListOrders`, `CreateOrder`, `DeleteOrders`.
//! 5. A last segment that is neither is an action when POSTed to (`POST /orders/{id}/refund` is `RefundOrder`,
//!    `POST /login` is `Login`) unless it is a noun by its looks (`status`, `subscription`), or under GET when it is a verb
//!    such as `export` or `search`; else a thing: `GetOrderInvoice`.
//! 6. `:cancel` at the end of a path is an action, whatever the method: `CancelOrder`.
//! 7. `bulk` and `batch` stand in front: `POST /orders/bulk` is `BulkCreateOrders`.
//! 8. HEAD is named as GET. Other methods stand in front as they are: `OptionsOrders`. The root path is `Root`.

mod plural;
mod words;

use http::Method;

use self::words::{last_word, pascal, singular};

/// Names are cut here. The longest that AWS has are around 60.
const MAX_NAME: usize = 128;

/// Segments that count; a longer path is named by its last ones.
const MAX_SEGMENTS: usize = 6;

/// One counted segment of a route.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    /// A parameter follows.
    owned: bool,
}

/// `RefundOrder` for POST and `/orders/{id}/refund`. Never empty.
pub(crate) fn derive(method: &Method, template: &str) -> String {
    let (path, action) = split_action(without_format(template));
    let mut parts = parts(path);
    let many = take_many(&mut parts);
    let mut name = pascal(many.unwrap_or_default());
    name += &match parts.split_last() {
        Some((last, parents)) => match action {
            Some(action) => pascal(action) + &noun(&parts),
            None => describe(method, parents, last, many.is_some()),
        },
        None => root(method, path) + &action.map(pascal).unwrap_or_default(),
    };
    if name.len() > MAX_NAME {
        name.truncate(name.floor_char_boundary(MAX_NAME));
    }
    name
}

fn describe(method: &Method, parents: &[Part<'_>], last: &Part<'_>, many: bool) -> String {
    let word = last_word(last.text);
    let noun_with = |last: Part<'_>| noun(&[parents, &[last]].concat());
    if last.owned || words::is_caller(last.text) {
        return verb(method, "Get", "Update") + &noun_with(*last);
    }
    if plural::singular(&word).is_some() || plural::is_collective(&word) {
        return match *method {
            Method::POST if !many => String::from("Create") + &noun_with(Part { owned: true, ..*last }),
            _ => verb(method, "List", "Create") + &noun_with(*last),
        };
    }
    let is_verb = words::is_verb(last.text) && matches!(*method, Method::GET | Method::HEAD);
    let is_action = *method == Method::POST && !words::is_noun(&word);
    if is_verb || is_action {
        return pascal(last.text) + &noun(parents);
    }
    verb(method, "Get", "Create") + &noun_with(*last)
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
    let mut noun = String::new();
    // Where the name of the last part begins.
    let mut last = 0;
    for (index, part) in parts.iter().enumerate() {
        let after_plural = index > 0 && plural::singular(&last_word(parts[index - 1].text)).is_some();
        if after_plural && words::is_caller(part.text) {
            // `/users/me`: the plural before it was one of them.
            noun.truncate(last);
            noun += "Current";
            noun += &pascal(&singular(parts[index - 1].text));
            continue;
        }
        let name = if part.owned { pascal(&singular(part.text)) } else { pascal(part.text) };
        let repeats = last < noun.len()
            && name.strip_prefix(&noun[last..]).is_some_and(|rest| rest.starts_with(char::is_uppercase));
        if repeats {
            noun.truncate(last);
        }
        last = noun.len();
        noun += &name;
    }
    noun
}

/// A route without any fixed segment is named by its parameter.
fn root(method: &Method, path: &str) -> String {
    match path.split('/').rfind(|segment| is_parameter(segment)) {
        Some(name) => verb(method, "Get", "Update") + &pascal(name.trim_matches(['{', '}', '*'])),
        None => verb(method, "Get", "Post") + "Root",
    }
}

/// The fixed segments that count.
fn parts(path: &str) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).peekable();
    while let Some(segment) = segments.next() {
        let leads = parts.is_empty() && matches!(segment, "api" | "rest");
        let is_version = words::is_version(segment) && (parts.is_empty() || segments.peek().is_some());
        if is_parameter(segment) {
            if let Some(part) = parts.last_mut() {
                part.owned = true;
            }
        } else if !leads && !is_version && segment.contains(|c: char| c.is_alphanumeric()) {
            parts.push(Part { text: segment, owned: false });
        }
    }
    parts.split_off(parts.len().saturating_sub(MAX_SEGMENTS))
}

/// Takes out `bulk` or `batch`, unless that is all there is.
fn take_many<'a>(parts: &mut Vec<Part<'a>>) -> Option<&'a str> {
    let is_many =
        |part: &Part<'_>| !part.owned && matches!(part.text.trim_start_matches('_'), "bulk" | "batch");
    let index = parts.iter().rposition(is_many).filter(|_| parts.len() > 1)?;
    Some(parts.remove(index).text)
}

/// `/orders.json` is `/orders`.
fn without_format(template: &str) -> &str {
    const FORMATS: [&str; 7] = [".csv", ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml"];
    let stem = FORMATS.iter().find_map(|format| template.strip_suffix(format));
    stem.filter(|stem| !stem.is_empty() && !stem.ends_with('/')).unwrap_or(template)
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

/// What an id under `/order-items/` is called: `orderItemId`.
pub(crate) fn id_of(owner: &str) -> String {
    let name = pascal(&singular(owner));
    let mut chars = name.chars();
    match chars.next() {
        Some(first) => format!("{}{}Id", first.to_ascii_lowercase(), chars.as_str()),
        None => "id".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of method, template and name.
    fn check(table: &str) {
        for line in table.lines().filter(|line| !line.trim().is_empty()) {
            let [method, template, expected] =
                line.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(derive(&method.parse().unwrap(), template), expected, "{method} {template}");
        }
    }

    #[test]
    fn items_and_collections() {
        check(
            "
            GET    /orders                            ListOrders
            HEAD   /orders                            ListOrders
            POST   /orders                            CreateOrder
            PUT    /orders                            UpdateOrders
            PATCH  /orders                            UpdateOrders
            DELETE /orders                            DeleteOrders
            OPTIONS /orders                           OptionsOrders
            QUERY  /orders                            QueryOrders
            CONNECT /orders                           ConnectOrders
            GET    /orders/                           ListOrders
            GET    /orders/{id}                       GetOrder
            PUT    /orders/{id}                       UpdateOrder
            PATCH  /orders/{id}                       UpdateOrder
            POST   /orders/{id}                       UpdateOrder
            DELETE /orders/{id}                       DeleteOrder
            GET    /orders/:id                        GetOrder
            PUT    /repos/{owner}/{name}              UpdateRepo
            GET    /files/{*path}                     GetFile
            GET    /statuses/{id}                     GetStatus
            POST   /statuses                          CreateStatus
            POST   /addresses                         CreateAddress
            POST   /categories                        CreateCategory
            DELETE /boxes/{id}                        DeleteBox
            POST   /people                            CreatePerson
            GET    /people                            ListPeople
            GET    /inventory                         ListInventory
            GET    /inventory/{sku}                   GetInventory
            POST   /media                             CreateMedia
            GET    /news                              ListNews
            ",
        );
    }

    #[test]
    fn nested_resources() {
        check(
            "
            GET    /customers/{id}/orders             ListCustomerOrders
            POST   /customers/{id}/orders             CreateCustomerOrder
            GET    /customers/{cid}/orders/{oid}      GetCustomerOrder
            POST   /customers/{cid}/orders/{oid}/ship ShipCustomerOrder
            GET    /orders/{id}/order-lines           ListOrderLines
            GET    /orders/{id}/orderLines/{line}     GetOrderLine
            GET    /orders/{id}/orders                ListOrderOrders
            GET    /admin/users                       ListAdminUsers
            DELETE /admin/users/{id}                  DeleteAdminUser
            GET    /{tenant}                          GetTenant
            POST   /{tenant}                          UpdateTenant
            GET    /{tenant}/orders                   ListOrders
            GET    /.well-known/openid-configuration  GetWellKnownOpenidConfiguration
            ",
        );
    }

    #[test]
    fn actions_and_things() {
        check(
            "
            POST   /orders/{id}/refund                RefundOrder
            POST   /orders/{id}/bulk-refund           BulkRefundOrder
            POST   /orders/{id}:cancel                CancelOrder
            GET    /orders/{id}:preview               PreviewOrder
            POST   /orders:batchGet                   BatchGetOrders
            GET    /orders/{id}/invoice               GetOrderInvoice
            GET    /orders/{id}/status                GetOrderStatus
            PUT    /orders/{id}/status                UpdateOrderStatus
            POST   /orders/{id}/status                CreateOrderStatus
            POST   /orders/{id}/orderStatus           CreateOrderStatus
            POST   /users/{id}/subscription           CreateUserSubscription
            POST   /users/{id}/avatar                 CreateUserAvatar
            DELETE /users/{id}/avatar                 DeleteUserAvatar
            POST   /orders/{id}/payment               CreateOrderPayment
            POST   /counters/{id}/increment           IncrementCounter
            POST   /session                           CreateSession
            DELETE /session                           DeleteSession
            POST   /oauth/token                       CreateOauthToken
            POST   /login                             Login
            GET    /login                             GetLogin
            POST   /authorize                         Authorize
            GET    /logout                            Logout
            GET    /protected                         GetProtected
            GET    /health                            GetHealth
            GET    /boom                              GetBoom
            GET    /orders/export                     ExportOrders
            GET    /orders/search                     SearchOrders
            POST   /orders/search                     SearchOrders
            POST   /orders/_search                    SearchOrders
            GET    /orders/_search                    SearchOrders
            GET    /search                            Search
            ",
        );
    }

    #[test]
    fn many_at_once() {
        check(
            "
            POST   /orders/bulk                       BulkCreateOrders
            DELETE /orders/bulk                       BulkDeleteOrders
            PATCH  /orders/batch                      BatchUpdateOrders
            POST   /bulk/orders                       BulkCreateOrders
            POST   /orders/bulk/delete                BulkDeleteOrders
            POST   /orders/_bulk                      BulkCreateOrders
            POST   /orders/bulk-delete                BulkDeleteOrders
            POST   /bulk                              Bulk
            GET    /batches/{id}                      GetBatch
            GET    /batch/{id}                        GetBatch
            ",
        );
    }

    #[test]
    fn the_callers_own() {
        check(
            "
            GET    /me                                GetMe
            PATCH  /me                                UpdateMe
            POST   /me                                UpdateMe
            GET    /me/orders                         ListMeOrders
            GET    /users/me                          GetCurrentUser
            POST   /users/me                          UpdateCurrentUser
            GET    /users/self/orders                 ListCurrentUserOrders
            DELETE /api/v1/users/current/keys/{id}    DeleteCurrentUserKey
            POST   /users/me/deactivate               DeactivateCurrentUser
            ",
        );
    }

    #[test]
    fn what_does_not_count() {
        check(
            "
            GET    /api/orders                        ListOrders
            GET    /api/v1/orders/{id}                GetOrder
            GET    /v2beta1/orders/{id}               GetOrder
            GET    /v1.2/orders                       ListOrders
            GET    /2024-10-01/orders                 ListOrders
            GET    /shop/v2/orders                    ListShopOrders
            GET    /orders/v2/{id}                    GetOrder
            GET    /releases/v2                       GetReleasesV2
            GET    /v8engines                         ListV8engines
            GET    /api/v1                            GetRoot
            GET    /                                  GetRoot
            POST   /                                  PostRoot
            GET    /orders.json                       ListOrders
            GET    /orders/{id}.json                  GetOrder
            GET    /orders/export.csv                 ExportOrders
            GET    /robots.txt                        GetRobotsTxt
            GET    /favicon.ico                       GetFaviconIco
            GET    /openapi.json                      GetOpenapi
            ",
        );
    }

    #[test]
    fn any_way_of_writing_words() {
        check(
            "
            GET    /order-items/{id}                  GetOrderItem
            POST   /order_items                       CreateOrderItem
            GET    /orderItems/{id}                   GetOrderItem
            GET    /OrderItems                        ListOrderItems
            GET    /ORDERS/{id}                       GetOrder
            GET    /apiKeys/{id}                      GetApiKey
            GET    /APIKeys/{id}                      GetAPIKey
            POST   /orders/{id}/markAsPaid            MarkAsPaidOrder
            POST   /orders/{id}/mark-as-paid          MarkAsPaidOrder
            ",
        );
    }

    #[test]
    fn the_guide_tells_what_is_done() {
        let guide = include_str!("guide/naming.md");
        let mut rows = 0;
        for line in guide.lines().filter(|line| line.starts_with("| ") && line.contains("`/")) {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let [_, _, template, get, post, put, delete, _] = cells.try_into().unwrap();
            for (method, name) in
                [("GET", get), ("POST", post), ("PUT", put), ("PATCH", put), ("DELETE", delete)]
            {
                check(&format!("{method} {template} {name}"));
            }
            rows += 1;
        }
        assert_eq!(rows, 7);
    }

    #[test]
    fn odd_paths_have_a_bounded_name() {
        for path in [
            "",
            "*",
            "//",
            "/:",
            "/a:",
            "/:a:",
            "/%20/",
            "/ü/{ü}",
            "/-_-",
            "{",
            "/{a",
            "/v",
            "/日本/語",
            ".json",
            "/me/me",
        ] {
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
