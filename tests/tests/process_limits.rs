//! The promise: of children nothing is left, no zombie and no descriptor, however many there were, and
//! whatever fails. Each test runs in a process of its own, so that its children and descriptors are all there
//! are.
#![allow(missing_docs)]

use std::fs::File;
use std::io;

use filch::io::AsyncWriteExt;
use filch::process::{Command, Stdio};
use filch_tests::{Child, child_case, until, watched, workers};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whether this process has a child, be it a zombie.
fn has_children() -> bool {
    // SAFETY: a siginfo is made of integers; the call fills it, and takes no child away.
    let answer = unsafe {
        let mut info = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
    };
    answer == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ECHILD)
}

/// Runs the test again in a process of its own, in which `body` runs.
#[track_caller]
fn alone(test: &'static str, limits: &'static str, body: impl FnOnce() + Send + 'static) {
    if child_case().is_some() {
        return watched(body);
    }
    Child::new(test, "alone").ulimit(limits).succeeds();
}

#[test]
fn ps1_two_thousand_children_leave_nothing() {
    alone("ps1_two_thousand_children_leave_nothing", "-n 256", || {
        let runtime = workers(2);
        runtime.block_on(async {
            assert!(Command::new("true").output().await.unwrap().status.success());
            let before = descriptors();
            // `.ci/run --full` asks for more.
            let more = std::env::var("FILCH_CHILDREN").ok().and_then(|count| count.parse::<usize>().ok());
            let each = more.unwrap_or(2_000) / 4;
            let run = move |code: i32| async move {
                for number in 0..each {
                    let command = if code == 0 { "true" } else { "false" };
                    let status = if number % 10 == 0 {
                        Command::new(command).output().await.unwrap().status
                    } else {
                        Command::new(command).status().await.unwrap()
                    };
                    assert_eq!(status.code(), Some(code));
                }
            };
            let others: Vec<_> = (0..4).map(|n| filch::spawn(run(n % 2))).collect();
            for other in others {
                other.await.unwrap();
            }
            assert_eq!(descriptors(), before);
        });
        assert!(!has_children());
    });
}

#[test]
fn ps3_dropped_children_leave_nothing() {
    alone("ps3_dropped_children_leave_nothing", "-n 256", || {
        let runtime = workers(2);
        let before = runtime.block_on(async {
            Command::new("true").status().await.unwrap();
            let before = descriptors();
            for number in 0..200 {
                drop(Command::new("true").stdin(Stdio::piped()).spawn().unwrap());
                if number % 10 == 0 {
                    drop(Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap());
                }
            }
            before
        });
        until(|| !has_children());
        // The thread that waited for them is gone, too.
        until(|| descriptors() == before && filch_tests::threads_named("filch-reaper") == 0);
    });
}

#[test]
fn ps5_without_descriptors_there_is_an_error_and_nothing_is_left() {
    alone("ps5_without_descriptors_there_is_an_error_and_nothing_is_left", "-n 64", || {
        let runtime = workers(1);
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        runtime.block_on(async {
            command.kill_on_drop(true).spawn().unwrap().kill().await.unwrap();
            let mut full: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            let (mut failed, mut ran) = (0, 0);
            // One more is free each time, so that each step is the one that fails once.
            for free in 0..16 {
                match command.spawn() {
                    Ok(mut child) => {
                        child.kill().await.unwrap();
                        ran += 1;
                    }
                    Err(error) => {
                        assert!(error.to_string().contains("ulimit -n"), "{error}");
                        failed += 1;
                    }
                }
                until(|| !has_children());
                // Counted by filling them, as a folder cannot be read without a descriptor.
                let there: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
                assert_eq!(there.len(), free);
                full.pop();
            }
            assert!(failed > 3 && ran > 3, "{failed} failed, {ran} ran");
            // One that is dropped is waited for, though there is no descriptor to wait with.
            let child = command.spawn().unwrap();
            full.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
            drop(child);
            until(|| !has_children());
        });
    });
}

#[test]
fn a_status_that_the_system_throws_away_is_an_error_that_says_so() {
    alone("a_status_that_the_system_throws_away_is_an_error_that_says_so", "", || {
        // SAFETY: ignores a signal; there is no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        workers(1).block_on(async {
            let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(b"x").await.unwrap();
            drop(stdin);
            for _ in 0..2 {
                let error = child.wait().await.unwrap_err();
                assert!(error.to_string().contains("ignores SIGCHLD"), "{error}");
            }
            assert!(child.try_wait().is_err());
            child.start_kill().unwrap();
            // Gone before it could be watched, or after.
            for _ in 0..50 {
                let error = Command::new("true").status().await.unwrap_err();
                assert!(error.to_string().contains("ignores SIGCHLD"), "{error}");
            }
        });
        // SAFETY: asks for an action.
        let still = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGCHLD, std::ptr::null(), &mut action);
            action.sa_sigaction == libc::SIG_IGN
        };
        assert!(still, "the program's choice stays");
    });
}

/// Lets `pidfd_open` fail as on an old system.
fn forbid_pidfd() {
    let filter = [
        // Loads the number of the call; if it is this one, answers ENOSYS, else lets it pass.
        libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: libc::SYS_pidfd_open as u32 },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32 },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the filter is valid for the call, and reads a number only.
    let answer = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
    };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
}

#[test]
fn an_old_system_is_no_different() {
    alone("an_old_system_is_no_different", "", || {
        forbid_pidfd();
        let runtime = workers(2);
        let before = runtime.block_on(async {
            assert!(Command::new("true").status().await.unwrap().success());
            let before = descriptors();
            let all: Vec<_> = (0..100)
                .map(|number| {
                    let mut command = Command::new("sh");
                    command.arg("-c").arg(format!("exit {number}"));
                    filch::spawn(async move { command.status().await.unwrap().code() })
                })
                .collect();
            for (number, status) in all.into_iter().enumerate() {
                assert_eq!(status.await.unwrap(), Some(number as i32));
            }
            let mut child = Command::new("sleep").arg("600").spawn().unwrap();
            child.kill().await.unwrap();
            // Dropped ones are waited for, as well.
            drop(Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap());
            drop(Command::new("true").spawn().unwrap());
            before
        });
        until(|| !has_children());
        until(|| descriptors() == before);
    });
}
