//! Layer 3, process. What may become of a job instead of a result: `JobError`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Why a job has no result.
///
/// # Examples
/// ```
/// use filch::process::JobError;
///
/// let error = JobError::Crashed { signal: Some(11), code: None };
/// assert_eq!(error.to_string(), "the process crashed in this job: signal 11 (SIGSEGV)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobError {
    /// Its process ended in the middle of it: by a signal (a fault, the kernel's out-of-memory killer,
    /// somebody), or by exiting with a code. Neither is known if this program ignores `SIGCHLD`. Other jobs
    /// have not suffered.
    Crashed {
        /// The signal that ended it.
        signal: Option<i32>,
        /// The code it exited with.
        code: Option<i32>,
    },
    /// It took longer than it was given, and its process was killed.
    TimedOut {
        /// What it was given.
        limit: Duration,
    },
    /// It panicked. Its process goes on.
    Panicked {
        /// What it said.
        message: String,
    },
    /// The argument could not be passed. The job has not run.
    Argument {
        /// Why.
        reason: String,
    },
    /// The job has run, and what it returned could not be passed back.
    Output {
        /// Why.
        reason: String,
    },
    /// It was not given to [`init`](super::init). It has not run.
    Unregistered {
        /// The job's name, and what to do.
        reason: String,
    },
    /// No process could be started for it, several times in a row; the pool has given up. The job has not
    /// run.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// The process sent what no worker of this program sends, and was killed.
    Protocol {
        /// What it was.
        reason: String,
    },
    /// The pool was shut down or dropped, or its runtime was, before the job was done.
    Closed,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Crashed { signal: Some(signal), .. } => {
                write!(f, "the process crashed in this job: signal {signal}{}", signal_name(*signal))
            }
            JobError::Crashed { code: Some(code), .. } => {
                write!(f, "the process ended in this job: it exited with code {code}")
            }
            JobError::Crashed { .. } => f.write_str(
                "the process ended in this job; how is not known, as this program ignores SIGCHLD or waits \
                 for all children",
            ),
            JobError::TimedOut { limit } => {
                write!(f, "the job took longer than {limit:?}, and its process was killed")
            }
            JobError::Panicked { message } => write!(f, "the job panicked: {message}"),
            JobError::Argument { reason } => write!(f, "the argument cannot be passed: {reason}"),
            JobError::Output { reason } => {
                write!(f, "the job has run, but its output cannot be passed back: {reason}")
            }
            JobError::Unregistered { reason } => f.write_str(reason),
            JobError::NotStarted { reason } => write!(f, "no worker process can be started: {reason}"),
            JobError::Protocol { reason } => {
                write!(f, "the worker process sent what no worker sends, and was killed: {reason}")
            }
            JobError::Closed => f.write_str("the pool was shut down before the job was done"),
        }
    }
}

impl Error for JobError {}

impl JobError {
    /// How a process has ended, in two words.
    pub(super) fn how(&self) -> String {
        match self {
            JobError::Crashed { signal: Some(signal), .. } => format!("signal {signal}"),
            JobError::Crashed { code: Some(code), .. } => format!("exit code {code}"),
            _ => "how is not known".to_owned(),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGFPE => " (SIGFPE)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGINT => " (SIGINT)",
        libc::SIGKILL => " (SIGKILL: was memory short?)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGTERM => " (SIGTERM)",
        _ => "",
    }
}
