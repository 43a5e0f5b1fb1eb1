//! A test again, in a process of its own: for what ends the process, fills its stderr, or needs other limits.

use std::ffi::OsString;
use std::process::{Command, Output};

const CASE: &str = "FILCH_TEST_CHILD";

/// Which case this process is the child for.
pub fn child_case() -> Option<String> {
    std::env::var(CASE).ok()
}

/// A test of this binary, to be run in a child process.
#[derive(Debug)]
pub struct Child {
    test: &'static str,
    case: &'static str,
    limits: &'static str,
    envs: Vec<(&'static str, OsString)>,
}

impl Child {
    /// The test named `test`, which finds `case` in [`child_case`].
    pub fn new(test: &'static str, case: &'static str) -> Child {
        Child { test, case, limits: "", envs: Vec::new() }
    }

    /// Calls the shell's `ulimit` with these options first.
    #[must_use]
    pub fn ulimit(mut self, limits: &'static str) -> Child {
        self.limits = limits;
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Child {
        self.envs.push((name, value.into()));
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(self) -> Output {
        let binary = std::env::current_exe().expect("the path of this test");
        let ulimit =
            if self.limits.is_empty() { "true".to_owned() } else { format!("ulimit {}", self.limits) };
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -c 0; {ulimit} && exec \"$0\" \"$@\"")).arg(binary);
        command.args([self.test, "--exact", "--nocapture", "--test-threads=1"]).env(CASE, self.case);
        command.envs(self.envs).output().expect("a child process")
    }

    /// Runs it, and returns what it wrote to stderr.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn succeeds(self) -> String {
        let output = self.run();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
        assert!(stdout.contains("1 passed"), "no such test: {stdout}");
        stderr
    }
}
