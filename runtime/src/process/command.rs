//! Layer 3, process. What is to be run, and how: `Command`; and why it could not be.
//!
//! Owns the standard library's command and two options of ours. Unsafe is only that of `pre_exec`, passed on
//! to the caller. Called by user code.
#![allow(unsafe_code)]

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::process::CommandExt;
use std::panic::Location;
use std::path::Path;
use std::process::{Command as StdCommand, ExitStatus, Output, Stdio};

use super::child::Child;
use super::reaper;
use crate::context;

/// A program to be run: its arguments, variables, folder, and where its input and output go.
///
/// The names are those of [`std::process::Command`].
///
/// # Examples
/// ```
/// use filch::process::Command;
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let status = Command::new("sh").args(["-c", "exit $CODE"]).env("CODE", "3").status().await?;
///     assert_eq!(status.code(), Some(3));
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
pub struct Command {
    std: StdCommand,
    kill_on_drop: bool,
    leads_group: bool,
}

impl Command {
    /// A program, by its path or, without a slash, by its name in `PATH`. It inherits all else.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        StdCommand::new(program).into()
    }

    /// The command of the standard library, to look at.
    pub fn as_std(&self) -> &StdCommand {
        &self.std
    }

    /// The command of the standard library, to change what is not here.
    pub fn as_std_mut(&mut self) -> &mut StdCommand {
        &mut self.std
    }

    /// The command of the standard library.
    pub fn into_std(self) -> StdCommand {
        self.std
    }

    /// One more argument. No shell looks at it.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg(arg);
        self
    }

    /// More arguments.
    pub fn args<I>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.std.args(args);
        self
    }

    /// What the program sees as its own name, instead of the path.
    pub fn arg0(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg0(arg);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.std.env(key, value);
        self
    }

    /// Sets variables of its environment.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.envs(vars);
        self
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.std.env_remove(key);
        self
    }

    /// Takes all variables out of its environment; those that are set afterwards are in it.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// The folder it starts in.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Command {
        self.std.current_dir(folder);
        self
    }

    /// What it reads. Inherited, if not said otherwise.
    pub fn stdin(&mut self, from: impl Into<Stdio>) -> &mut Command {
        self.std.stdin(from);
        self
    }

    /// Where what it writes goes. Inherited, if not said otherwise; [`output`](Self::output) pipes it.
    pub fn stdout(&mut self, to: impl Into<Stdio>) -> &mut Command {
        self.std.stdout(to);
        self
    }

    /// Where what it writes to standard error goes; see [`stdout`](Self::stdout).
    pub fn stderr(&mut self, to: impl Into<Stdio>) -> &mut Command {
        self.std.stderr(to);
        self
    }

    /// Whether the child is killed when its [`Child`] is dropped, or the future that runs it. False, if not
    /// said otherwise.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// What [`kill_on_drop`](Self::kill_on_drop) was set to.
    pub fn get_kill_on_drop(&self) -> bool {
        self.kill_on_drop
    }

    /// The group of processes it joins. `0`: a new one, which it leads; Ctrl-C in the terminal does not reach
    /// it, and [`Child::signal_group`] does.
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.std.process_group(group);
        self.leads_group = group == 0;
        self
    }

    /// The user it runs as. Needs the right to do so.
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.std.uid(id);
        self
    }

    /// The group of users it runs as. Needs the right to do so.
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.std.gid(id);
        self
    }

    /// Calls `f` in the child, before the program.
    ///
    /// # Safety
    /// As [`std::os::unix::process::CommandExt::pre_exec`]: `f` runs in a copy of this process that has one
    /// thread, and may do only what a signal handler may.
    pub unsafe fn pre_exec(
        &mut self,
        f: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> &mut Command {
        // SAFETY: the caller promises the same.
        unsafe { self.std.pre_exec(f) };
        self
    }

    /// Starts the program.
    ///
    /// # Errors
    /// Outside of a runtime. When it cannot be started, with its name and what is amiss: there is no such
    /// program, or no such folder to start it in; arguments are too long, or have a NUL byte; no more
    /// processes or descriptors are to be had. Nothing is left of one that cannot be watched.
    pub fn spawn(&mut self) -> io::Result<Child> {
        // Before there is anything to clean up.
        context::reactor()?;
        reaper::nudge();
        let child = self.std.spawn().map_err(|error| self.explain(error))?;
        Child::new(child, self.kill_on_drop, self.leads_group).map_err(|error| self.explain(error))
    }

    /// Starts the program, and waits for its end. Pipes to it are closed at once.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn) and [`Child::wait`].
    ///
    /// # Cancel safety
    /// **Not cancel safe:** the program goes on, unless [`kill_on_drop`](Self::kill_on_drop) was set.
    #[track_caller]
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + use<> {
        let (child, location) = (self.spawn(), Location::caller());
        async move {
            let mut child = child?;
            drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
            child.wait_at(location).await
        }
    }

    /// Starts the program, waits for its end, and gives what it wrote to standard output and standard error,
    /// which are piped for that whatever was said before.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    ///
    /// # Cancel safety
    /// **Not cancel safe:** the program goes on, unless [`kill_on_drop`](Self::kill_on_drop) was set, and
    /// finds that nobody reads what it writes.
    #[track_caller]
    pub fn output(&mut self) -> impl Future<Output = io::Result<Output>> + use<> {
        self.std.stdout(Stdio::piped()).stderr(Stdio::piped());
        let waiting = self.spawn().map(Child::wait_with_output);
        async move { waiting?.await }
    }

    /// An error of the system, with what was to be run and what helps.
    fn explain(&self, source: io::Error) -> io::Error {
        let program = self.std.get_program();
        let folder = self.std.get_current_dir();
        let hint = match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES) if folder.is_some_and(|f| !f.is_dir()) => {
                format!("the folder to start it in, {:?}, is none", folder.unwrap_or(Path::new("")))
            }
            Some(libc::ENOENT) if !program.as_encoded_bytes().contains(&b'/') => {
                "there is no such program in PATH; is it installed, and spelt right?".to_owned()
            }
            Some(libc::ENOENT) if Path::new(program).exists() => {
                "it is there, but what runs it is not: look at its first line".to_owned()
            }
            Some(libc::ENOENT) => "there is no such file".to_owned(),
            Some(libc::EACCES) => "it may not be executed; look at its permissions".to_owned(),
            Some(libc::ENOEXEC) => {
                "it is no program, and has no first line that says what runs it".to_owned()
            }
            Some(libc::E2BIG) => {
                format!("its {} bytes of arguments are too long; pass them in a file", self.argument_bytes())
            }
            Some(libc::EMFILE | libc::ENFILE) => {
                "no descriptors are left; close some, or raise the limit (ulimit -n)".to_owned()
            }
            Some(libc::EAGAIN) => "no more processes may be started; raise the limit (ulimit -u)".to_owned(),
            None if source.kind() == io::ErrorKind::InvalidInput => {
                "the program, an argument, a variable or the folder has a NUL byte, or no name".to_owned()
            }
            _ => String::new(),
        };
        let kind = source.kind();
        let program = program.to_string_lossy().into_owned();
        io::Error::new(kind, NotStarted { program, hint, source })
    }

    fn argument_bytes(&self) -> usize {
        self.std.get_args().map(OsStr::len).sum()
    }
}

impl From<StdCommand> for Command {
    fn from(std: StdCommand) -> Command {
        Command { std, kill_on_drop: false, leads_group: false }
    }
}

/// An error of the system, with what was to be run. The kind is the same, and so is the source.
#[derive(Debug)]
struct NotStarted {
    program: String,
    hint: String,
    source: io::Error,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot run {:?}: {}", self.program, self.source)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

impl Error for NotStarted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
