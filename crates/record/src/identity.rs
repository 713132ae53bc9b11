//! Who called: `userIdentity` and what hangs on it.

use crate::{Json, lossless::lossless};

lossless! {
    /// `userIdentity`. Which members go with which `type` is CloudTrail's "userIdentity element" page.
    pub struct UserIdentity, borrowed as UserIdentityRef {
        /// `Root`, `IAMUser`, `AssumedRole`, `WebIdentityUser`, `AWSService`, `Unknown`, …
        kind: String = "type",
        /// Unique id of the caller within its kind.
        principal_id: String = "principalId",
        /// ARN of the caller.
        arn: String = "arn",
        /// Account that the caller belongs to, twelve digits.
        account_id: String = "accountId",
        /// Id of the key that signed; never the key.
        access_key_id: String = "accessKeyId",
        /// Friendly name.
        user_name: String = "userName",
        /// Issuer of the identity, for federated callers.
        identity_provider: String = "identityProvider",
        /// Context of temporary credentials.
        session_context: SessionContext = "sessionContext",
        /// Service that made the call on somebody's behalf.
        invoked_by: String = "invokedBy",
        /// Identity Center user that the call was made for.
        on_behalf_of: OnBehalfOf = "onBehalfOf",
        /// Where credentials of a service were issued.
        in_scope_of: InScopeOf = "inScopeOf",
        /// Id of a bearer credential.
        credential_id: String = "credentialId",
    }
}

lossless! {
    /// `userIdentity.sessionContext`.
    pub struct SessionContext {
        /// Who the temporary credentials came from.
        session_issuer: SessionIssuer = "sessionIssuer",
        /// Federation data of web identities.
        web_id_federation_data: IdentityProviderData = "webIdFederationData",
        /// When the session began, and whether with MFA.
        attributes: SessionAttributes = "attributes",
        /// Identity that was set when the first role of a chain was assumed.
        source_identity: String = "sourceIdentity",
    }
}

lossless! {
    /// `sessionContext.sessionIssuer`.
    pub struct SessionIssuer {
        /// `Root`, `IAMUser`, `Role`.
        kind: String = "type",
        /// Id of the issuer.
        principal_id: String = "principalId",
        /// ARN of the issuer.
        arn: String = "arn",
        /// Account of the issuer.
        account_id: String = "accountId",
        /// Role or user name.
        user_name: String = "userName",
    }
}

lossless! {
    /// `sessionContext.webIdFederationData`; often empty.
    pub struct IdentityProviderData {
        /// Name of the provider.
        federated_provider: String = "federatedProvider",
        /// Claims, as the provider names them.
        attributes: Json = "attributes",
    }
}

lossless! {
    /// `sessionContext.attributes`.
    pub struct SessionAttributes {
        /// When the credentials were issued, ISO 8601.
        creation_date: String = "creationDate",
        /// `"true"` or `"false"`: a string in CloudTrail.
        mfa_authenticated: String = "mfaAuthenticated",
    }
}

lossless! {
    /// `userIdentity.onBehalfOf`.
    pub struct OnBehalfOf {
        /// Identity Center user id.
        user_id: String = "userId",
        /// ARN of its identity store.
        identity_store_arn: String = "identityStoreArn",
    }
}

lossless! {
    /// `userIdentity.inScopeOf`.
    pub struct InScopeOf {
        /// ARN of the resource that the credentials serve.
        source_arn: String = "sourceArn",
        /// Its account.
        source_account: String = "sourceAccount",
        /// Kind of the issuer.
        issuer_type: String = "issuerType",
        /// What the credentials were issued to.
        credentials_issued_to: String = "credentialsIssuedTo",
    }
}
