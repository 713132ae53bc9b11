//! A key that is elsewhere, in a KMS or on a token. A thread of its own asks for signatures: what hangs there holds up nobody
//! for longer than [`ANSWER_WITHIN`], and who signs in the middle of asynchronous work needs no runtime for it.

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use super::reference::ElsewhereError;
use super::{DigestSigner, RsaPublicKey, RsaSignature, SignError};

/// How long a service or a token may take for a key or a signature, all tries together.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(45);

/// Something that has one key.
pub(super) trait Device {
    /// Signs with SHA-256 and RSA PKCS#1 v1.5.
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, ElsewhereError>;
}

type Answer<T> = Result<T, ElsewhereError>;

struct Request {
    message: Vec<u8>,
    answer: SyncSender<Answer<Vec<u8>>>,
}

/// A signer whose key is elsewhere.
pub(super) struct Remote {
    public: RsaPublicKey,
    requests: SyncSender<Request>,
}

impl Remote {
    /// Has a thread open the device, which gives its key, and keep it until the signer is dropped.
    pub(super) fn open<D: Device>(
        open: impl FnOnce() -> Answer<(D, RsaPublicKey)> + Send + 'static,
    ) -> Answer<Self> {
        let (tell, opened) = sync_channel(1);
        // One more request may wait: a device that hangs is not asked again and again.
        let (requests, inbox) = sync_channel(1);
        let run = move || match open() {
            Ok((device, public)) => {
                // Who asked is gone if it took too long.
                if tell.send(Ok(public)).is_ok() {
                    serve(device, &inbox);
                }
            }
            Err(error) => drop(tell.send(Err(error))),
        };
        let spawned = std::thread::Builder::new().name("signer".to_owned()).spawn(run);
        spawned.map_err(|error| ElsewhereError::passing(format!("there is no thread for it: {error}")))?;
        Ok(Self { public: wait(&opened)?, requests })
    }

    fn ask(&self, message: &[u8]) -> Answer<RsaSignature> {
        let (tell, signed) = sync_channel(1);
        let request = Request { message: message.to_owned(), answer: tell };
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => {
                ElsewhereError::passing("it has not answered yet what it was asked before")
            }
            TrySendError::Disconnected(_) => {
                ElsewhereError::lasting("what asked it for signatures has ended")
            }
        })?;
        let signature = RsaSignature::new(wait(&signed)?).map_err(ElsewhereError::passing)?;
        // A digest that nobody can check would end the chain.
        if self.public.verify(message, &signature) {
            Ok(signature)
        } else {
            let fingerprint = self.public.fingerprint();
            Err(ElsewhereError::passing(format!("it answered with no signature of the key {fingerprint}")))
        }
    }
}

fn wait<T>(answer: &Receiver<Answer<T>>) -> Answer<T> {
    answer.recv_timeout(ANSWER_WITHIN).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => {
            Err(ElsewhereError::passing(format!("no answer within {} s", ANSWER_WITHIN.as_secs())))
        }
        RecvTimeoutError::Disconnected => Err(ElsewhereError::lasting("what asked it has ended")),
    })
}

fn serve(mut device: impl Device, inbox: &Receiver<Request>) {
    while let Ok(Request { message, answer }) = inbox.recv() {
        // Who asked may have given up.
        let _ = answer.send(device.sign(&message));
    }
}

impl DigestSigner for Remote {
    fn public_key(&self) -> &RsaPublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<RsaSignature, SignError> {
        self.ask(message).map_err(|error| SignError(Some(Box::new(error))))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::RsaSigner;
    use super::*;

    const KEY: &str = include_str!("../../testdata/digest/key-a.pem");
    const OTHER: &str = include_str!("../../testdata/digest/key-b.pem");

    /// Signs with the keys in turn, or fails where there is none.
    struct Scripted(Vec<Option<RsaSigner>>);

    impl Device for Scripted {
        fn sign(&mut self, message: &[u8]) -> Answer<Vec<u8>> {
            match self.0.remove(0) {
                Some(signer) => Ok(signer.sign(message).unwrap().as_bytes().to_owned()),
                None => Err(ElsewhereError::passing("the token is away")),
            }
        }
    }

    #[test]
    fn a_failure_passes_and_another_keys_signature_is_none() {
        let key = |pem| RsaSigner::from_pem(pem).unwrap();
        let public = key(KEY).public_key().clone();
        let script = vec![Some(key(KEY)), None, Some(key(OTHER)), Some(key(KEY))];
        let remote = Remote::open({
            let public = public.clone();
            move || Ok((Scripted(script), public))
        });
        let remote = remote.unwrap();
        let said = |remote: &Remote| crate::causes::chain(&remote.sign(b"a").unwrap_err());
        assert!(public.verify(b"a", &remote.sign(b"a").unwrap()));
        assert_eq!(said(&remote), "could not sign: the token is away");
        assert!(said(&remote).contains("it answered with no signature of the key"), "{}", said(&remote));
        assert!(public.verify(b"b", &remote.sign(b"b").unwrap()));
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let remote =
            Remote::open(|| -> Answer<(Scripted, RsaPublicKey)> { Err(ElsewhereError::lasting("no")) });
        assert_eq!(remote.unwrap_err().to_string(), "no");
    }
}
