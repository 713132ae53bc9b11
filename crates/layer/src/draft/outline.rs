//! What a record says of a call, before it takes one form or another.

use std::{
    borrow::Cow,
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
};

use sidetrail_record::{EventTime, Json, Record, Resource, UserIdentity};

use crate::{capture::push_number, id};

/// Every member of a record that the layer makes, redacted and within CloudTrail's limits. It becomes a [`Record`], or
/// goes to the wire as it is.
#[derive(Clone, Debug)]
pub(crate) struct Outline<'a> {
    pub(crate) event_id: [u8; 16],
    pub(crate) time: Option<EventTime>,
    pub(crate) source: &'a str,
    pub(crate) name: Cow<'a, str>,
    pub(crate) client: Option<IpAddr>,
    pub(crate) user_agent: Option<Cow<'a, str>>,
    /// Code and message.
    pub(crate) error: Option<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) request_id: Cow<'a, str>,
    /// JSON; without, the record has `null`.
    pub(crate) parameters: Option<String>,
    pub(crate) elements: Option<String>,
    /// JSON; without, the record has no such member.
    pub(crate) additional: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) is_data_event: bool,
    pub(crate) resources: Vec<Resource>,
    pub(crate) identity: UserIdentity,
}

impl Outline<'_> {
    pub(crate) const EVENT_TYPE: &'static str = "AwsApiCall";

    pub(crate) fn category(&self) -> &'static str {
        if self.is_data_event { "Data" } else { "Management" }
    }

    /// `sourceIPAddress`.
    pub(crate) fn address(&self) -> String {
        /// The longest of IPv4.
        const USUAL: usize = 15;
        let mut text = String::with_capacity(USUAL);
        match self.client {
            Some(IpAddr::V4(address)) => push_octets(&mut text, address),
            // Writing to a string does not fail.
            Some(IpAddr::V6(address)) => drop(write!(text, "{address}")),
            None => text.push_str("unknown"),
        }
        text
    }
}

impl From<Outline<'_>> for Record {
    fn from(outline: Outline<'_>) -> Self {
        let (error_code, error_message) = outline.error.clone().unzip();
        // It is what `Fields` has written.
        let json = |text: Option<String>| text.map(Json::from_trusted);
        Self {
            event_version: Some(Self::EVENT_VERSION.to_owned()),
            event_time: outline.time,
            event_source: Some(outline.source.to_owned()),
            source_ip_address: Some(outline.address()),
            event_category: Some(outline.category().to_owned()),
            event_name: Some(outline.name.into_owned()),
            user_agent: outline.user_agent.map(Cow::into_owned),
            error_code: error_code.map(Cow::into_owned),
            error_message: error_message.map(Cow::into_owned),
            request_parameters: json(outline.parameters).or_else(|| Some(Json::null())),
            response_elements: json(outline.elements).or_else(|| Some(Json::null())),
            additional_event_data: json(outline.additional),
            request_id: Some(outline.request_id.into_owned()),
            event_id: Some(id::format(outline.event_id)),
            read_only: Some(outline.read_only),
            resources: Some(outline.resources).filter(|resources| !resources.is_empty()),
            event_type: Some(Outline::EVENT_TYPE.to_owned()),
            management_event: Some(!outline.is_data_event),
            user_identity: Some(outline.identity),
            ..Self::default()
        }
    }
}

/// As [`Ipv4Addr`] displays itself; formatting takes ten times as long.
fn push_octets(text: &mut String, address: Ipv4Addr) {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        push_number(text, octet.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_display() {
        for address in ["0.0.0.0", "192.0.2.17", "255.10.1.100"] {
            let mut text = String::new();
            push_octets(&mut text, address.parse().unwrap());
            assert_eq!(text, address);
        }
    }
}
