//! What a call changed, as its handler knows it.

use serde::Serialize;

use super::Audit;
use crate::additions::change;

impl Audit {
    /// Records what the call changed: `additionalEventData.change`, a JSON Patch (RFC 6902) that makes `after` of
    /// `before`. Calls add up. With a name each operation has a member `resource`, which readers of patches ignore.
    ///
    /// Values go by the rules for names, along the whole path, and by looks: a changed password is seen to have
    /// changed, not what it was or is. A patch that is too long is omitted whole, and that is said.
    ///
    /// ```
    /// use serde_json::json;
    /// use sidetrail::Audit;
    ///
    /// # let audit = Audit::detached();
    /// let before = json!({ "status": "open", "lines": 3 });
    /// let after = json!({ "status": "refunded", "lines": 3 });
    /// // [{"op":"replace","path":"/status","value":"refunded","resource":"order/17"}]
    /// audit.change(Some("order/17"), &before, &after);
    /// ```
    pub fn change<B, A>(&self, resource: Option<&str>, before: &B, after: &A)
    where
        B: Serialize + ?Sized,
        A: Serialize + ?Sized,
    {
        let Some(redactor) = self.redactor() else { return };
        // The application's code runs here, outside any lock.
        let (Ok(before), Ok(after)) = (serde_json::to_value(before), serde_json::to_value(after)) else {
            return;
        };
        let operations = change::operations(&before, &after, resource, &redactor);
        self.add(|additions, _| additions.change.add(&operations));
    }
}
