//! Tags.

use serde::{Deserialize, Serialize};

/// A tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Tag {
    /// What it is called.
    pub key: String,
    /// What it says; it may say nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Of `AddTags`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AddTagsInput {
    /// The ARN of what is tagged.
    pub resource_id: Option<String>,
    /// The tags; of `RemoveTags` the keys count.
    pub tags_list: Option<Vec<Tag>>,
}

/// Of `RemoveTags`.
pub type RemoveTagsInput = AddTagsInput;

/// Of `ListTags`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListTagsInput {
    /// ARNs of what is tagged.
    pub resource_id_list: Option<Vec<String>>,
    /// Where to go on.
    pub next_token: Option<String>,
}

/// Of `ListTags`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListTagsOutput {
    /// In the order in which they were asked for.
    pub resource_tag_list: Vec<ResourceTag>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// The tags of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ResourceTag {
    /// The ARN.
    pub resource_id: String,
    /// The tags.
    pub tags_list: Vec<Tag>,
}
