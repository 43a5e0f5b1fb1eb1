//! The promise: programs are run, waited for and talked to without blocking a worker; statuses are right,
//! errors say what is amiss, and no child stays a zombie.
#![allow(missing_docs)]

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use filch::io::{AsyncReadExt, AsyncWriteExt};
use filch::process::{Child, ChildStdin, Command, Stdio};
use filch::signal::unix::SignalKind;
use filch_tests::{poll_once, until, until_yielding, watched, workers};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    command
}

/// A child that runs until its input ends.
fn waits() -> Command {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

/// Whether a process of this number is there, be it as a zombie.
fn is_there(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

#[filch::test]
async fn statuses_are_right() {
    assert!(Command::new("true").status().await.unwrap().success());
    assert_eq!(Command::new("false").status().await.unwrap().code(), Some(1));
    assert_eq!(shell("exit 42").status().await.unwrap().code(), Some(42));
    let killed = shell("kill -TERM $$").status().await.unwrap();
    assert_eq!((killed.code(), killed.signal()), (None, Some(libc::SIGTERM)));
}

#[test]
fn every_flavour_waits() {
    watched(|| {
        for runtime in [filch_tests::single(), workers(1)] {
            assert!(runtime.block_on(Command::new("true").status()).is_err(), "outside of it");
            assert!(runtime.block_on(async { Command::new("true").status().await }).unwrap().success());
        }
    });
}

#[filch::test(paused)]
async fn the_paused_clock_waits() {
    assert_eq!(Command::new("echo").arg("x").output().await.unwrap().stdout, b"x\n");
}

#[filch::test]
async fn commands_pass_everything_on() {
    let mut command = shell("echo $0 $1 $A $B $(pwd); echo oh >&2");
    command.args(["x", "y z"]).env("A", "a").env_remove("B").envs([("C", "c")]).current_dir("/");
    let output = command.output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "x y z a /\n");
    assert_eq!(output.stderr, b"oh\n");
    let output = Command::new("/usr/bin/env").env_clear().env("ONLY", "1").output().await.unwrap();
    assert_eq!(output.stdout, b"ONLY=1\n");
    // The same command again.
    assert_eq!(command.output().await.unwrap().stdout, b"x y z a /\n");
}

#[filch::test]
async fn ps5_both_outputs_are_read_at_once() {
    // More than a pipe holds, in each.
    let script =
        "i=0; while [ $i -lt 16 ]; do head -c 65536 /dev/zero; head -c 65536 /dev/zero >&2; i=$((i+1)); done";
    let output = shell(script).output().await.unwrap();
    assert!(output.status.success());
    assert_eq!((output.stdout.len(), output.stderr.len()), (1 << 20, 1 << 20));
}

#[filch::test]
async fn a_child_is_talked_to() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    for word in ["one", "two", "three"] {
        stdin.write_all(word.as_bytes()).await.unwrap();
        let mut back = vec![0; word.len()];
        stdout.read_exact(&mut back).await.unwrap();
        assert_eq!(back, word.as_bytes());
    }
    // More than fits, both ways at the same time.
    let much = vec![7; 1 << 20];
    let writer = filch::spawn(async move {
        stdin.write_all(&much).await.unwrap();
        stdin.close().await.unwrap();
        assert_eq!(stdin.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(stdin.into_owned_fd().is_err());
    });
    let mut all = Vec::new();
    stdout.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), 1 << 20);
    writer.await.unwrap();
    assert!(child.wait().await.unwrap().success());
}

#[filch::test]
async fn tokios_traits_do_the_same() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin: ChildStdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"abc").await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut stdin).await.unwrap();
    let mut text = String::new();
    let mut stdout = child.stdout.take().unwrap();
    tokio::io::AsyncReadExt::read_to_string(&mut stdout, &mut text).await.unwrap();
    assert_eq!(text, "abc");
}

#[filch::test]
async fn one_child_reads_what_another_writes() {
    let mut first = shell("echo b; echo a").stdout(Stdio::piped()).spawn().unwrap();
    let pipe = Stdio::try_from(first.stdout.take().unwrap()).unwrap();
    let second = Command::new("sort").stdin(pipe).output().await.unwrap();
    assert_eq!(second.stdout, b"a\nb\n");
    assert!(first.wait().await.unwrap().success());
}

#[filch::test]
async fn a_child_that_does_not_read_is_an_error_of_the_pipe() {
    let mut child = waits().spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    child.kill().await.unwrap();
    assert_eq!(stdin.write_all(&[0; 1 << 17]).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[filch::test]
async fn ps5_errors_say_what_is_amiss() {
    let error = |mut command: Command| command.spawn().unwrap_err();
    let none = error(Command::new("no-such-program"));
    assert_eq!(none.kind(), io::ErrorKind::NotFound);
    assert!(none.to_string().contains("\"no-such-program\"") && none.to_string().contains("PATH"), "{none}");
    let none = error(Command::new("/no/such/program"));
    assert!(
        none.to_string().contains("\"/no/such/program\"") && none.to_string().contains("no such file"),
        "{none}"
    );

    let mut command = Command::new("true");
    command.current_dir("/no/such/folder");
    let none = error(command).to_string();
    assert!(
        none.contains("\"true\"") && none.contains("the folder to start it in, \"/no/such/folder\""),
        "{none}"
    );

    let mut command = Command::new("true");
    command.arg("a\0b");
    let nul = error(command);
    assert!(nul.to_string().contains("NUL"), "{nul}");
    assert_eq!(nul.kind(), io::ErrorKind::InvalidInput);

    let mut command = Command::new("true");
    command.args(std::iter::repeat_n("x".repeat(100_000), 40));
    let long = error(command);
    assert!(long.to_string().contains("4000000 bytes of arguments"), "{long}");

    let denied = error(Command::new("/proc/self/status"));
    assert!(denied.to_string().contains("may not be executed"), "{denied}");

    // A script whose interpreter is not there.
    let script = std::env::temp_dir().join(format!("filch-script-{}", std::process::id()));
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // A child that another test starts may hold our descriptor of it for a moment.
    let none = loop {
        let none = error(Command::new(&script));
        if none.kind() != io::ErrorKind::ExecutableFileBusy {
            break none;
        }
    };
    assert!(none.to_string().contains("first line"), "{none}");
    std::fs::remove_file(&script).unwrap();
}

#[test]
fn without_a_runtime_nothing_is_started() {
    let error = Command::new("true").spawn().unwrap_err();
    assert!(error.to_string().contains("no filch runtime"), "{error}");
}

#[filch::test]
async fn ps3_waits_may_be_dropped_and_repeated() {
    let mut child = waits().spawn().unwrap();
    let id = child.id().unwrap();
    let stdin = child.stdin.take();
    for _ in 0..100 {
        assert!(poll_once(&mut Box::pin(child.wait())).await.is_none());
        assert!(child.try_wait().unwrap().is_none());
    }
    drop(stdin);
    let status = child.wait().await.unwrap();
    assert!(status.success() && !is_there(id));
    assert_eq!(child.wait().await.unwrap(), status);
    assert_eq!(child.try_wait().unwrap(), Some(status));
    assert_eq!(child.id(), None, "another may have its number");
    // Nobody else is hit.
    child.start_kill().unwrap();
    child.kill().await.unwrap();
    child.signal(SignalKind::terminate()).unwrap();
    assert_eq!(child.wait().await.unwrap(), status);
}

#[filch::test]
async fn a_wait_closes_the_childs_input() {
    assert!(waits().spawn().unwrap().wait().await.unwrap().success());
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    assert!(command.spawn().unwrap().wait_with_output().await.unwrap().status.success());
    assert!(command.status().await.unwrap().success());
}

#[filch::test]
async fn ps4_children_are_killed_and_signalled() {
    let mut child = waits().spawn().unwrap();
    child.kill().await.unwrap();
    assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGKILL));

    // Stopped and continued: not an end, whatever wakes the wait.
    let mut child = waits().spawn().unwrap();
    let stdin = child.stdin.take();
    let stat = format!("/proc/{}/stat", child.id().unwrap());
    let state =
        || std::fs::read_to_string(&stat).unwrap().rsplit(") ").next().unwrap().chars().next().unwrap();
    child.signal(SignalKind::from_raw(libc::SIGSTOP)).unwrap();
    until_yielding(|| state() == 'T').await;
    assert!(poll_once(&mut Box::pin(child.wait())).await.is_none());
    child.signal(SignalKind::from_raw(libc::SIGCONT)).unwrap();
    until_yielding(|| state() != 'T').await;
    assert!(poll_once(&mut Box::pin(child.wait())).await.is_none());
    assert!(child.signal(SignalKind::from_raw(4711)).is_err(), "no such signal");
    drop(stdin);
    assert!(child.wait().await.unwrap().success());
}

#[filch::test]
async fn a_group_is_signalled_with_all_that_is_in_it() {
    // Two processes have the pipe; it ends when both are gone.
    let mut command = shell("sleep 600 & echo ready; wait");
    let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).await.unwrap();
    child.signal_group(SignalKind::terminate()).unwrap();
    assert_eq!(stdout.read(&mut ready).await.unwrap(), 0);
    assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGTERM));
    assert!(child.signal_group(SignalKind::terminate()).unwrap_err().to_string().contains("before the wait"));
    let mut child = waits().spawn().unwrap();
    assert!(
        child.signal_group(SignalKind::terminate()).unwrap_err().to_string().contains("process_group(0)")
    );
}

/// A child, and a pipe that ends when it does.
fn held() -> (Command, std::os::unix::net::UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = Command::new("sleep");
    command.arg("600").stdin(std::os::fd::OwnedFd::from(theirs));
    (command, ours)
}

#[test]
fn ps3_dropped_children_are_killed_if_that_was_asked_for() {
    watched(|| {
        let (mut command, mut pipe) = held();
        let runtime = workers(2);
        let child = runtime.block_on(async { command.kill_on_drop(true).spawn().unwrap() });
        let id = child.id().unwrap();
        assert!(command.get_kill_on_drop());
        drop(command);
        drop(child);
        assert_eq!(io::Read::read(&mut pipe, &mut [0]).unwrap(), 0, "ends with the child");
        until(|| !is_there(id));
        // By the future that runs it, too.
        let (mut command, mut pipe) = held();
        let _here = runtime.handle().enter();
        let output = command.kill_on_drop(true).output();
        drop(command);
        drop(output);
        assert_eq!(io::Read::read(&mut pipe, &mut [0]).unwrap(), 0);
    });
}

#[test]
fn ps3_dropped_children_go_on_and_are_waited_for() {
    watched(|| {
        // While the runtime is there, outside of it, and after its end.
        let runtime = workers(2);
        let mut children: Vec<Child> =
            runtime.block_on(async { (0..30).map(|_| waits().spawn().unwrap()).collect() });
        let ids: Vec<u32> = children.iter().map(|child| child.id().unwrap()).collect();
        let pipes: Vec<_> = children.iter_mut().map(|child| child.stdin.take()).collect();
        let mut children = children.into_iter();
        let dropped: Vec<_> = children.by_ref().take(10).collect();
        runtime.block_on(async move { drop(dropped) });
        drop(children.by_ref().take(10).collect::<Vec<_>>());
        drop(runtime);
        drop(children);
        assert!(ids.iter().all(|id| is_there(*id)), "nothing was killed");
        // Their pipes were the runtime's, and end with it; our ends are still open.
        drop(pipes);
        until(|| ids.iter().all(|id| !is_there(*id)));
    });
}

#[test]
fn a_wait_ends_with_the_runtime() {
    watched(|| {
        let runtime = workers(1);
        let mut child = runtime.block_on(async { waits().kill_on_drop(true).spawn().unwrap() });
        let stdin = child.stdin.take();
        drop(runtime);
        let error = futures_lite::future::block_on(child.wait()).unwrap_err();
        assert!(error.to_string().contains("shut down"), "{error}");
        drop(stdin);
    });
}

#[test]
fn ps2_five_hundred_children_end_at_once() {
    watched(|| {
        workers(2).block_on(async {
            // All read from one socket, which ends for all of them.
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            let mut children = Vec::new();
            for number in 0..500 {
                let mut command = shell(&format!("read line; exit {}", number % 100));
                let theirs = std::os::fd::OwnedFd::from(theirs.try_clone().unwrap());
                children.push(command.stdin(theirs).spawn().unwrap());
            }
            drop((ours, theirs));
            let waits: Vec<_> = children
                .into_iter()
                .map(|mut child| filch::spawn(async move { child.wait().await.unwrap().code() }))
                .collect();
            for (number, wait) in waits.into_iter().enumerate() {
                assert_eq!(wait.await.unwrap(), Some(number as i32 % 100));
            }
        });
    });
}
