//! The record itself, members in CloudTrail's own order.

use crate::{EventTime, Json, UserIdentity, lossless::lossless};

lossless! {
    /// One CloudTrail record (eventVersion 1.11 and older).
    ///
    /// `requestParameters` and `responseElements` are `null` rather than absent where a call has none:
    /// use [`Json::null`].
    pub struct Record, borrowed as RecordRef {
        /// `major.minor`; see [`Record::EVENT_VERSION`].
        event_version: String = "eventVersion",
        /// Who called.
        user_identity: UserIdentity = "userIdentity",
        /// When the call was completed.
        event_time: EventTime = "eventTime",
        /// Service that was called, e.g. `orders.example.com`.
        event_source: String = "eventSource",
        /// What was called, e.g. `RefundOrder`.
        event_name: String = "eventName",
        /// Region that took the request.
        aws_region: String = "awsRegion",
        /// Address of the caller, or the DNS name of a service.
        source_ip_address: String = "sourceIPAddress",
        /// Cut at [1 KiB](crate::limits::MAX_TEXT).
        user_agent: String = "userAgent",
        /// Only on failure. Cut at 1 KiB.
        error_code: String = "errorCode",
        /// Only on failure. Cut at 1 KiB.
        error_message: String = "errorMessage",
        /// Parameters of the call. Omitted above [100 KiB](crate::limits::MAX_PARAMETERS).
        request_parameters: Json = "requestParameters",
        /// What the call returned or made. Omitted above 100 KiB.
        response_elements: Json = "responseElements",
        /// Whatever has no field of its own. Omitted above [28 KiB](crate::limits::MAX_ADDITIONAL).
        additional_event_data: Json = "additionalEventData",
        /// The service's own id of the request. Cut at 1 KiB.
        request_id: String = "requestID",
        /// UUID, the primary key.
        event_id: String = "eventID",
        /// Whether the call changes nothing.
        read_only: bool = "readOnly",
        /// What the call touched.
        resources: Vec<Resource> = "resources",
        /// `AwsApiCall`, `AwsServiceEvent`, …
        event_type: String = "eventType",
        /// Version of the service's API.
        api_version: String = "apiVersion",
        /// Management as opposed to data plane.
        management_event: bool = "managementEvent",
        /// Account that got this copy.
        recipient_account_id: String = "recipientAccountId",
        /// What triggered a service event. Omitted above 100 KiB.
        service_event_details: Json = "serviceEventDetails",
        /// Joins copies of one action in several accounts, and the ends of an insight.
        shared_event_id: String = "sharedEventID",
        /// VPC endpoint that the call came through.
        vpc_endpoint_id: String = "vpcEndpointId",
        /// Its owner.
        vpc_endpoint_account_id: String = "vpcEndpointAccountId",
        /// `Management`, `Data`, `NetworkActivity`, `Insight`, …
        event_category: String = "eventCategory",
        /// Why this record is late or amended.
        addendum: Addendum = "addendum",
        /// `"true"` for console sessions, absent otherwise.
        session_credential_from_console: String = "sessionCredentialFromConsole",
        /// Enrichment of event data stores.
        event_context: Json = "eventContext",
        /// Only of S3 on Outposts.
        edge_device_details: Json = "edgeDeviceDetails",
        /// TLS of the connection that brought the call.
        tls_details: TlsDetails = "tlsDetails",
        /// Details of an Insight record.
        insight_details: Json = "insightDetails",
    }
}

impl Record {
    /// The version of the record format that Sidetrail writes.
    pub const EVENT_VERSION: &'static str = "1.11";
}

lossless! {
    /// One of `resources`.
    pub struct Resource, borrowed as ResourceRef {
        /// Account that owns it.
        account_id: String = "accountId",
        /// `AWS::Service::Kind`.
        kind: String = "type",
        /// In upper case here and only here.
        arn: String = "ARN",
    }
}

lossless! {
    /// `tlsDetails`.
    pub struct TlsDetails {
        /// E.g. `TLSv1.3`.
        tls_version: String = "tlsVersion",
        /// E.g. `TLS_AES_128_GCM_SHA256`.
        cipher_suite: String = "cipherSuite",
        /// Host header that the client sent.
        client_provided_host_header: String = "clientProvidedHostHeader",
        /// E.g. `x25519`.
        key_exchange: String = "keyExchange",
    }
}

lossless! {
    /// `addendum`.
    pub struct Addendum {
        /// `DELIVERY_DELAY`, `UPDATED_DATA` or `SERVICE_OUTAGE`.
        reason: String = "reason",
        /// Names of the fields that were amended, one string.
        updated_fields: String = "updatedFields",
        /// Request id of the record that this one amends.
        original_request_id: String = "originalRequestID",
        /// Event id of the record that this one amends.
        original_event_id: String = "originalEventID",
    }
}
