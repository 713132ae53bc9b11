//! How a command ends.

use std::process::ExitCode;

use sidetrail_archive::verify::Outcome;

/// The numbers are a contract with scripts; the crate's documentation and every `--help` say them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Wrong = 1,
    CouldNot = 2,
    Lost = 3,
    Usage = 64,
}

impl Exit {
    /// What two parts of the work come to.
    pub(crate) fn and(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Done => 0,
            Self::Lost => 1,
            Self::CouldNot => 2,
            Self::Wrong => 3,
            Self::Usage => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Valid => Self::Done,
            Outcome::Invalid => Self::Wrong,
            Outcome::CouldNotCheck => Self::CouldNot,
            Outcome::ValidWithLosses => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_wins_over_could_not() {
        assert_eq!(Exit::Done.and(Exit::CouldNot), Exit::CouldNot);
        assert_eq!(Exit::CouldNot.and(Exit::Wrong), Exit::Wrong);
        assert_eq!(Exit::Wrong.and(Exit::CouldNot), Exit::Wrong);
        assert_eq!(Exit::Done.and(Exit::Done), Exit::Done);
    }

    #[test]
    fn outcomes_have_the_codes_that_the_archive_states() {
        for outcome in [Outcome::Valid, Outcome::Invalid, Outcome::CouldNotCheck, Outcome::ValidWithLosses] {
            assert_eq!(Exit::from(outcome) as u8, outcome.exit_code());
        }
    }
}
