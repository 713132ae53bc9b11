//! `AddTags`, `RemoveTags` and `ListTags`.

use sidetrail_api::arn::{Arn, Kind};
use sidetrail_api::shape::{
    AddTagsInput, Empty, ListTagsInput, ListTagsOutput, RemoveTagsInput, ResourceTag, Tag,
};
use sidetrail_api::{Code, Error, Operation, name, quoted};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;
use crate::state::Update;
use crate::trail::{Visible, change_all, required};

/// Resources in one request.
const MAX_RESOURCES: usize = 20;
/// Tags in one request.
const MAX_TAGS: usize = 200;

pub(super) struct AddTags;

impl Implementation for AddTags {
    const OPERATION: Operation = Operation::AddTags;
    type Input = AddTagsInput;
    type Output = Empty;

    async fn call(context: &Context, caller: &Caller, input: AddTagsInput) -> Result<Empty, Refusal> {
        let tags = list(input.tags_list)?;
        let text = required(input.resource_id.as_ref(), "resourceId")?;
        change_tags(context, caller, text, |stored| {
            merge(stored, tags.clone())?;
            check_number(stored)
        })
        .await
    }
}

pub(super) struct RemoveTags;

impl Implementation for RemoveTags {
    const OPERATION: Operation = Operation::RemoveTags;
    type Input = RemoveTagsInput;
    type Output = Empty;

    async fn call(context: &Context, caller: &Caller, input: RemoveTagsInput) -> Result<Empty, Refusal> {
        let tags = list(input.tags_list)?;
        for tag in &tags {
            name::check_tag(&tag.key, tag.value.as_deref())?;
        }
        let text = required(input.resource_id.as_ref(), "resourceId")?;
        change_tags(context, caller, text, |stored| {
            stored.retain(|tag| tags.iter().all(|removed| removed.key != tag.key));
            Ok(())
        })
        .await
    }
}

pub(super) struct ListTags;

impl Implementation for ListTags {
    const OPERATION: Operation = Operation::ListTags;
    type Input = ListTagsInput;
    type Output = ListTagsOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: ListTagsInput,
    ) -> Result<ListTagsOutput, Refusal> {
        if input.next_token.is_some() {
            return Err(Error::new(Code::InvalidToken, "All tags are in one page: there is no token.").into());
        }
        let resources =
            input.resource_id_list.ok_or_else(|| Error::constraint(None, "resourceIdList", "not be null"))?;
        if resources.len() > MAX_RESOURCES {
            let limit = format!("have length less than or equal to {MAX_RESOURCES}");
            return Err(Error::constraint(None, "resourceIdList", &limit).into());
        }
        let visible = Visible::read(context, caller).await?;
        let mut listed = Vec::new();
        for text in resources {
            let arn = parse(caller, &text)?;
            let trail = visible.trails().find(|trail| trail.own && trail.arn() == arn);
            let trail = trail.ok_or_else(|| not_found(&text))?;
            listed.push(ResourceTag { resource_id: text, tags_list: trail.stored.tags.clone() });
        }
        Ok(ListTagsOutput { resource_tag_list: listed, next_token: None })
    }
}

async fn change_tags(
    context: &Context,
    caller: &Caller,
    text: &str,
    mut change: impl FnMut(&mut Vec<Tag>) -> Result<(), Error>,
) -> Result<Empty, Refusal> {
    let arn = parse(caller, text)?;
    // Tags are changed where the trail is at home.
    let is_home = arn.region == caller.region.as_str();
    let changed = change_all(context, caller, |trails| {
        let trail = trails.get_mut(&arn.region, &arn.name).filter(|_| is_home);
        let trail = trail.ok_or_else(|| not_found(text))?;
        let before = trail.tags.clone();
        change(&mut trail.tags)?;
        Ok(if trail.tags == before { Update::Same(Empty {}) } else { Update::Changed(Empty {}) })
    });
    changed.await
}

/// The ARN of something that has tags here.
fn parse(caller: &Caller, text: &str) -> Result<Arn, Error> {
    let arn: Arn = text.parse().map_err(|_| {
        Error::new(Code::CloudTrailARNInvalid, format!("Invalid Trail ARN: {}", quoted(text)))
    })?;
    if arn.account != caller.account.as_str() {
        return Err(Error::new(
            Code::CloudTrailARNInvalid,
            format!(
                "AccountID in ARN is wrong, you can only access resources with AccountID {}.",
                caller.account
            ),
        ));
    }
    match arn.kind {
        Kind::Trail => Ok(arn),
        Kind::EventDataStore => Err(Error::new(Code::EventDataStoreNotFound, unknown(text))),
        Kind::Channel => Err(Error::new(Code::ChannelNotFound, unknown(text))),
        Kind::Dashboard => Err(not_found(text)),
    }
}

fn unknown(text: &str) -> String {
    format!("Unknown resource: {}", quoted(text))
}

fn not_found(text: &str) -> Error {
    Error::new(Code::ResourceNotFound, unknown(text))
}

fn list(tags: Option<Vec<Tag>>) -> Result<Vec<Tag>, Error> {
    let tags = tags.ok_or_else(|| Error::constraint(None, "tagsList", "not be null"))?;
    if tags.len() > MAX_TAGS {
        let limit = format!("have length less than or equal to {MAX_TAGS}");
        return Err(Error::constraint(None, "tagsList", &limit));
    }
    Ok(tags)
}

/// Puts tags to those that there are; the same key once more is another value.
pub(super) fn merge(stored: &mut Vec<Tag>, tags: Vec<Tag>) -> Result<(), Error> {
    for (index, tag) in tags.iter().enumerate() {
        name::check_tag(&tag.key, tag.value.as_deref())?;
        if tags[..index].iter().any(|other| other.key == tag.key) {
            return Err(Error::new(
                Code::InvalidTagParameter,
                format!("Tag key {} comes twice.", quoted(&tag.key)),
            ));
        }
    }
    for tag in tags {
        match stored.iter_mut().find(|stored| stored.key == tag.key) {
            Some(stored) => stored.value = tag.value,
            None => stored.push(tag),
        }
    }
    Ok(())
}

/// That there are no more tags than a resource can have.
pub(super) fn check_number(tags: &[Tag]) -> Result<(), Error> {
    if tags.len() <= name::MAX_TAGS {
        return Ok(());
    }
    Err(Error::new(
        Code::TagsLimitExceeded,
        format!(
            "The number of tags per trail has exceeded the permitted amount. Currently, the limit is {}.",
            name::MAX_TAGS
        ),
    ))
}
