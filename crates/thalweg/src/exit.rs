//! How a command ends: its error, the exit code that scripts see, and the hint that a person sees.

use std::io;
use std::process::ExitCode;

use client::{ClientError, ErrorKind};

/// The exit codes; the same list is in the README and in `docs/reference/cli.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    Error = 1,
    Usage = 2,
    NotFound = 3,
    Denied = 4,
    Unreachable = 5,
    Conflict = 6,
    TimedOut = 124,
}

impl Exit {
    /// Every code with its meaning, for the reference page.
    pub const ALL: [(Exit, &'static str); 8] = [
        (Exit::Ok, "done"),
        (Exit::Error, "an error that no other code names"),
        (Exit::Usage, "wrong flags, arguments or configuration"),
        (Exit::NotFound, "no such topic, partition or group"),
        (Exit::Denied, "not allowed"),
        (Exit::Unreachable, "no broker answers"),
        (Exit::Conflict, "it exists already, or is in use"),
        (Exit::TimedOut, "the time limit passed"),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Usage(String),
    #[error("{what}")]
    Failed { exit: Exit, what: String },
    #[error(transparent)]
    Serve(#[from] thalweg::ServeError),
    #[error("writing to standard output: {0}")]
    Output(#[from] io::Error),
}

impl CommandError {
    pub fn new(exit: Exit, what: impl Into<String>) -> CommandError {
        CommandError::Failed {
            exit,
            what: what.into(),
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            CommandError::Client(error) => match error.kind() {
                ErrorKind::NotFound => Exit::NotFound,
                ErrorKind::Denied => Exit::Denied,
                ErrorKind::Conflict => Exit::Conflict,
                ErrorKind::Unreachable => Exit::Unreachable,
                ErrorKind::TimedOut => Exit::TimedOut,
                ErrorKind::Busy | ErrorKind::Other => Exit::Error,
            },
            CommandError::Usage(_) => Exit::Usage,
            CommandError::Failed { exit, .. } => *exit,
            CommandError::Serve(error) if error.is_port_in_use() => Exit::Conflict,
            CommandError::Serve(_) => Exit::Error,
            // `thalweg consume T | head` closes the pipe: the reader has what it wanted.
            CommandError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            CommandError::Output(_) => Exit::Error,
        }
    }

    /// What to try next, where that does not depend on the command.
    fn hint(&self) -> Option<&'static str> {
        match self.exit() {
            Exit::Unreachable => {
                Some("start one with `thalweg dev`, or name yours with --kafka HOST:PORT")
            }
            Exit::Usage => Some("see --help"),
            _ => None,
        }
    }

    /// Prints the error and its hint to standard error and gives the code.
    pub fn report(&self) -> ExitCode {
        let exit = self.exit();
        if exit != Exit::Ok {
            eprintln!("error: {self}");
            if let Some(hint) = self.hint() {
                eprintln!("  try: {hint}");
            }
        }
        exit.into()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use client::ClientError;

    use super::{CommandError, Exit};

    #[test]
    fn an_unreachable_broker_is_code_5() {
        let error = CommandError::from(ClientError::Unreachable {
            address: "127.0.0.1:1".into(),
            reason: "connection refused".into(),
        });
        assert_eq!(error.exit(), Exit::Unreachable);
    }

    #[test]
    fn refusals_have_the_code_of_their_kind() {
        let refused = |code: i16| {
            CommandError::from(ClientError::Refused {
                what: "x".into(),
                code: wire::ErrorCode::from_code(code).expect("a known code"),
                message: None,
            })
            .exit()
        };
        assert_eq!(refused(3), Exit::NotFound);
        assert_eq!(refused(69), Exit::NotFound);
        assert_eq!(refused(29), Exit::Denied);
        assert_eq!(refused(36), Exit::Conflict);
        assert_eq!(refused(68), Exit::Conflict);
        assert_eq!(refused(7), Exit::TimedOut);
        assert_eq!(refused(37), Exit::Error);
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let error = CommandError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit(), Exit::Ok);
    }

    #[test]
    fn codes_are_the_documented_numbers() {
        let numbers: Vec<u8> = Exit::ALL.iter().map(|(exit, _)| *exit as u8).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 124]);
    }
}
