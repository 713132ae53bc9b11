//! `sidetrail`: verifies and reads an archive, sends records to a collector, makes and shows keys.
//!
//! Exit codes are a contract with scripts:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, and nothing is wrong |
//! | 1 | done, and something is wrong: a finding, a damaged file, a record that was refused, a proof that proves nothing |
//! | 2 | could not be done, or not wholly: no such directory, wrong credentials, no collector |
//! | 3 | `verify`: genuine, and the manifests themselves say what is lost |
//! | 64 | the command line makes no sense |
//!
//! Where 1 and 2 both hold, 1 wins, as in `verify`: what is wrong stays wrong, whatever else could not be looked at.
//! `send` ends with 2 whenever it gave up on the collector.
//!
//! Standard output carries the result and nothing else; complaints and progress go to standard error, progress only if
//! that is a terminal.

mod arguments;
mod cat;
mod checkpoint;
mod client;
mod compact;
mod content;
mod exit;
mod find;
mod keys;
mod location;
mod log_name;
mod lookup;
mod output;
mod pages;
mod print;
mod progress;
mod prove;
mod report;
mod send;
mod server;
mod time;
mod verify;
mod vkeys;
mod witness;

use std::process::ExitCode;

use arguments::{Command, Keys};
use exit::Exit;

fn main() -> ExitCode {
    let command = match arguments::parse() {
        Ok(command) => command,
        Err(error) => {
            // Help and version are "errors" of clap's, on standard output. If they cannot be printed, so be it.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let ended = match command {
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Cat(arguments) => cat::run(&arguments),
        Command::Send(arguments) => send::run(*arguments),
        Command::Lookup(arguments) => lookup::lookup(&arguments),
        Command::Tail(arguments) => lookup::tail(&arguments),
        Command::Trails(command) => server::trails(&command),
        Command::Collectors(arguments) => server::collectors(&arguments),
        Command::Whoami(arguments) => server::who_am_i(&arguments),
        Command::Keys(Keys::Generate(arguments)) => keys::generate(&arguments),
        Command::Keys(Keys::Show(arguments)) => keys::show(&arguments),
        Command::Keys(Keys::Rotate(arguments)) => keys::rotate(&arguments),
        Command::Keys(Keys::Revoke(arguments)) => keys::revoke(&arguments),
        Command::Prove(arguments) => prove::run(&arguments),
        Command::VerifyProof(arguments) => prove::verify(&arguments),
        Command::Checkpoint(command) => checkpoint::run(&command),
        Command::Report(command) => report::run(&command),
        Command::Witness(arguments) => witness::run(&arguments),
        Command::Completions(arguments) => pages::completions(&arguments),
        Command::Man(arguments) => pages::manual(&arguments),
        Command::Version => print::out(format_args!("sidetrail {}\n", env!("CARGO_PKG_VERSION")))
            .map(|()| Exit::Done)
            .map_err(Into::into),
    };
    ended
        .unwrap_or_else(|error| {
            print::complain(format_args!("{}", print::chain(&*error)));
            Exit::CouldNot
        })
        .into()
}
