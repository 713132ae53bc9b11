//! Reads each log file that goes into a digest.

use futures_util::TryStreamExt;

use super::super::content::LogCheck;
use super::super::selection::{Chosen, Selection};
use super::commitment::Shown;
use super::{Digester, StepError};

impl Digester {
    /// Checks each log file against its manifest, in the order in which the digest lists them, and shows its records to the
    /// commitment. What is not as it should be is named and stays listed, with what the manifest says of it.
    pub(super) async fn check_files(&mut self, selection: &mut Selection) -> Result<(), StepError> {
        let files = selection.files().to_vec();
        for file in &files {
            let fault = self.check_file(file).await?;
            self.commitment.file_end(fault.is_none());
            if let Some(reason) = fault {
                selection.problem(file.entry.key.to_string(), reason);
            }
        }
        Ok(())
    }

    async fn check_file(&mut self, file: &Chosen) -> Result<Option<String>, StepError> {
        self.commitment.file(&file.listed(&self.settings.bucket));
        let mut pieces = match self.store.pieces(&file.entry.key.to_string()).await {
            Ok(pieces) => pieces,
            Err(error) if error.is_not_found() => {
                return Ok(Some("missing: there is no such object".to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        let mut check = LogCheck::new(file.entry.clone(), Shown(&mut *self.commitment));
        while let Some(piece) = pieces.try_next().await? {
            if !check.feed(&piece) {
                break;
            }
        }
        Ok(check.finish().err().map(|fault| fault.to_string()))
    }
}
