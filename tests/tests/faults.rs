//! The promise: a system call that fails is an error, or tried again; never a panic, a hang or a leak.
//!
//! Owns a filter of system calls that lets one of them fail, once, at the time that a test chooses. A filter cannot be
//! taken back, so each test runs in a process of its own.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::arch::global_asm;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering::SeqCst};

use filch::io::{AsyncReadExt, AsyncWriteExt};
use filch::net::{TcpListener, TcpStream, UdpSocket};
use filch::time::{Duration, sleep};
use filch_tests::{Child, child_case, until, watched, workers};

// A system call from an address that the filter knows, and lets through.
global_asm!(
    ".globl filch_raw_call",
    "filch_raw_call:",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov r10, r8",
    "mov r8, r9",
    "mov r9, [rsp + 8]",
    "syscall",
    ".globl filch_raw_call_end",
    "filch_raw_call_end:",
    "ret",
);

unsafe extern "C" {
    fn filch_raw_call(call: i64, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64) -> i64;
    fn filch_raw_call_end();
}

/// The call that is to fail, and with which error; 0: none.
static CALL: AtomicI64 = AtomicI64::new(-1);
static ERROR: AtomicI32 = AtomicI32::new(0);

/// What the calls in question lead to, instead of the kernel.
extern "C" fn on_call(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes both; the registers are those of a call that was not made.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let register = |n: libc::c_int| registers[n as usize];
        let call = register(libc::REG_RAX);
        let error = if CALL.load(SeqCst) == call { ERROR.swap(0, SeqCst) } else { 0 };
        let answer = if error != 0 {
            -i64::from(error)
        } else {
            filch_raw_call(
                call,
                register(libc::REG_RDI),
                register(libc::REG_RSI),
                register(libc::REG_RDX),
                register(libc::REG_R10),
                register(libc::REG_R8),
                register(libc::REG_R9),
            )
        };
        registers[libc::REG_RAX as usize] = answer;
    }
}

/// Lets the next such call of any thread fail.
fn fail_next(call: libc::c_long, error: i32) {
    CALL.store(call, SeqCst);
    ERROR.store(error, SeqCst);
}

/// Whether that has happened.
fn has_failed() -> bool {
    ERROR.load(SeqCst) == 0
}

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Loads a word: 0 has the number of the call, 8 and 12 the halves of the address it comes from.
const fn load(from: u32) -> libc::sock_filter {
    step(0x20, 0, 0, from)
}

/// Skips so many steps unless the word is this one.
const fn skip_unless(word: u32, steps: u8) -> libc::sock_filter {
    step(0x15, 0, steps, word)
}

const fn answer(answer: u32) -> libc::sock_filter {
    step(0x06, 0, 0, answer)
}

/// Sets the filter of this thread, and of those that it starts.
fn filter(filter: &[libc::sock_filter]) {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the filter is valid for the call, and reads numbers only.
    let answers = unsafe {
        (
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program),
        )
    };
    assert_eq!(answers, (0, 0), "{}", io::Error::last_os_error());
}

/// Leads these calls of this thread, and of those that it starts, to [`on_call`].
fn watch(calls: &[libc::c_long]) {
    let end = filch_raw_call_end as *const () as u64;
    let (low, high) = (end as u32, (end >> 32) as u32);
    // What comes from `filch_raw_call` is let through.
    let mut steps = vec![
        load(8),
        skip_unless(low, 3),
        load(12),
        skip_unless(high, 1),
        answer(libc::SECCOMP_RET_ALLOW),
        load(0),
    ];
    for &call in calls {
        steps.extend([skip_unless(call as u32, 1), answer(libc::SECCOMP_RET_TRAP)]);
    }
    steps.push(answer(libc::SECCOMP_RET_ALLOW));
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_call;
    // SAFETY: the handler touches atomics and the interrupted registers only.
    let answer = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut())
    };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
    filter(&steps);
}

#[track_caller]
fn alone(test: &'static str, body: impl FnOnce() + Send + 'static) {
    if child_case().is_some() {
        return watched(body);
    }
    Child::new(test, "alone").succeeds();
}

/// How many sockets this process has. The runtime may open a timer meanwhile, when it first needs one.
fn sockets() -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|to| to.to_string_lossy().starts_with("socket:")).count()
}

/// One exchange between a client and a server: errors are passed on, wherever they come from.
async fn exchange(listener: &TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    let client = filch::spawn(async move {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"question").await?;
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).await?;
        io::Result::Ok(answer)
    });
    // Whoever of the two gives up closes its end, so that the other ends as well.
    let accepted = listener.accept().await;
    let served = async {
        let (mut stream, _) = accepted?;
        stream.read_exact(&mut [0; 8]).await?;
        stream.write_all(b"answer").await
    };
    let served = served.await;
    let asked = client.await.unwrap();
    served?;
    assert_eq!(&asked?, b"answer");
    Ok(())
}

#[test]
fn nt2_each_call_of_a_socket_may_fail_once() {
    alone("nt2_each_call_of_a_socket_may_fail_once", || {
        let calls = [
            (
                libc::SYS_accept4,
                vec![libc::EINTR, libc::ECONNABORTED, libc::EPROTO, libc::ENOBUFS, libc::ENOMEM],
            ),
            (libc::SYS_epoll_wait, vec![libc::EINTR]),
            (libc::SYS_epoll_pwait, vec![libc::EINTR]),
            (libc::SYS_epoll_ctl, vec![libc::ENOSPC, libc::ENOMEM]),
            (libc::SYS_recvfrom, vec![libc::EINTR, libc::ENOMEM, libc::ENOBUFS, libc::ECONNRESET]),
            (libc::SYS_sendto, vec![libc::EINTR, libc::ENOMEM, libc::ENOBUFS, libc::EPIPE]),
            (libc::SYS_socket, vec![libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS]),
            // Not EINTR, after which a connection goes on by itself: one that was not begun would not.
            (libc::SYS_connect, vec![libc::ECONNREFUSED, libc::EADDRNOTAVAIL]),
        ];
        watch(&calls.iter().map(|(call, _)| *call).collect::<Vec<_>>());
        let runtime = workers(2);
        let mut hit = 0;
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            exchange(&listener).await.unwrap();
            let before = sockets();
            for (call, errors) in calls {
                for error in errors {
                    fail_next(call, error);
                    // A client that fails to connect leaves nobody to accept.
                    let result = filch::wait_for(exchange(&listener), Duration::from_millis(500)).await;
                    hit += usize::from(has_failed());
                    fail_next(-1, 0);
                    if let Ok(Err(error)) = result {
                        assert!(!error.to_string().is_empty());
                    }
                    // What was left in the queue of the listener by one that failed is taken out.
                    while filch::wait_for(listener.accept(), Duration::from_millis(5)).await.is_ok() {}
                    // All goes on, and nothing is left.
                    exchange(&listener).await.unwrap();
                    filch_tests::until_yielding(|| sockets() == before).await;
                }
            }
        });
        assert!(hit >= 20, "{hit} failures only");
    });
}

#[test]
fn nt5_a_datagram_socket_that_the_selector_refuses_leaves_nothing() {
    alone("nt5_a_datagram_socket_that_the_selector_refuses_leaves_nothing", || {
        watch(&[libc::SYS_epoll_ctl]);
        let runtime = workers(1);
        runtime.block_on(async {
            sleep(Duration::from_millis(1)).await;
            let before = sockets();
            for error in [libc::ENOSPC, libc::ENOMEM] {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                fail_next(libc::SYS_epoll_ctl, error);
                let failed = socket.recv(&mut [0; 8]).await.unwrap_err();
                assert!(has_failed(), "{failed}");
                // The next try registers it.
                socket.send_to(b"again", socket.local_addr().unwrap()).await.unwrap();
                assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 5);
                drop(socket);
                assert_eq!(sockets(), before);
            }
        });
    });
}

#[test]
fn bp2_a_job_without_a_thread_of_its_own_runs_on_one_that_is_there() {
    alone("bp2_a_job_without_a_thread_of_its_own_runs_on_one_that_is_there", || {
        let runtime = workers(1);
        let (feed, fed) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = std::sync::mpsc::channel();
        let first = runtime.spawn_blocking(move || {
            begun.send(()).unwrap();
            fed.recv().unwrap();
        });
        begins.recv().unwrap();
        // From now on this thread can start no other.
        let again = libc::SECCOMP_RET_ERRNO | libc::EAGAIN as u32;
        let calls =
            [libc::SYS_clone3, libc::SYS_clone].map(|call| [skip_unless(call as u32, 1), answer(again)]);
        filter(&[&[load(0)], calls.as_flattened(), &[answer(libc::SECCOMP_RET_ALLOW)]].concat());
        assert!(std::thread::Builder::new().spawn(|| ()).is_err());
        let waiting: Vec<_> = (0..10).map(|number| runtime.spawn_blocking(move || number)).collect();
        assert_eq!(runtime.metrics().blocking_queue_depth, 10);
        feed.send(()).unwrap();
        first.join_blocking().unwrap();
        for (number, job) in waiting.into_iter().enumerate() {
            assert_eq!(job.join_blocking().unwrap(), number);
        }
        // Where threads can be started, they are.
        let handle = runtime.handle().clone();
        let jobs = runtime.spawn(async move {
            let (one, two) = std::sync::mpsc::channel();
            let waits = handle.spawn_blocking(move || two.recv().unwrap());
            handle.spawn_blocking(move || one.send(7).unwrap()).await.unwrap();
            waits.await.unwrap()
        });
        assert_eq!(jobs.join_blocking().unwrap(), 7);
        until(|| runtime.metrics().blocking_queue_depth == 0);
    });
}
