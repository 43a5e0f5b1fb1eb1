//! Signals: every listener hears, none is lost, the host's handler goes on. The process raises them itself.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::task::{Context, Waker};

use filch::signal::unix::{SignalKind, signal};

fn raise(kind: SignalKind) {
    // SAFETY: every signal raised here is listened for first.
    assert_eq!(unsafe { libc::raise(kind.as_raw_value()) }, 0);
}

#[test]
fn a_signal_is_heard_once_and_the_next_again() -> io::Result<()> {
    filch::run(async {
        let mut listener = signal(SignalKind::user_defined1())?;
        for _ in 0..3 {
            assert!(pin!(listener.recv()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            raise(SignalKind::user_defined1());
            listener.recv().await.unwrap();
        }
        Ok(())
    })
}

#[test]
fn ps6_many_while_nobody_listens_are_at_least_one_and_the_last_is_never_lost() -> io::Result<()> {
    filch::run(async {
        let mut listener = signal(SignalKind::user_defined2())?;
        for _ in 0..1000 {
            raise(SignalKind::user_defined2());
        }
        listener.recv().await.unwrap();
        raise(SignalKind::user_defined2());
        poll_fn(|cx| listener.poll_recv(cx)).await.unwrap();
        assert!(pin!(listener.recv()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        Ok(())
    })
}

#[test]
fn kinds_are_kept_apart() -> io::Result<()> {
    filch::run(async {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut window = signal(SignalKind::window_change())?;
        raise(SignalKind::hangup());
        hangup.recv().await.unwrap();
        assert!(pin!(window.recv()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        Ok(())
    })
}

#[test]
fn ps6_every_listener_of_every_runtime_hears_and_one_that_goes_takes_nothing() {
    let kind = SignalKind::alarm();
    let (listening, listens) = mpsc::channel();
    let others: Vec<_> = (0..2)
        .map(|_| {
            let listening = listening.clone();
            std::thread::spawn(move || {
                filch::run(async {
                    let (mut one, mut two) = (signal(kind)?, signal(kind)?);
                    drop(signal(kind)?);
                    listening.send(()).unwrap();
                    one.recv().await.unwrap();
                    two.recv().await.unwrap();
                    io::Result::Ok(())
                })
            })
        })
        .collect();
    others.iter().for_each(|_| listens.recv().unwrap());
    raise(kind);
    for other in others {
        other.join().unwrap().unwrap();
    }
}

#[test]
fn the_handler_that_was_there_before_goes_on() -> io::Result<()> {
    static PLAIN: AtomicUsize = AtomicUsize::new(0);
    static INFO: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn plain(_: libc::c_int) {
        PLAIN.fetch_add(1, SeqCst);
    }
    extern "C" fn info(number: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel passes a valid siginfo, which our handler passes on.
        assert_eq!(unsafe { (*info).si_signo }, number);
        INFO.fetch_add(1, SeqCst);
    }
    fn install(number: libc::c_int, handler: usize, flags: libc::c_int) {
        // SAFETY: all zero is a valid action; the handler is a function of the form that `flags` says, and does
        // nothing but count.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            action.sa_flags = flags;
            assert_eq!(libc::sigaction(number, &action, std::ptr::null_mut()), 0);
        }
    }
    install(libc::SIGQUIT, plain as extern "C" fn(libc::c_int) as usize, 0);
    let with_info = info as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    install(libc::SIGIO, with_info as usize, libc::SA_SIGINFO);
    filch::run(async {
        let mut quit = signal(SignalKind::quit())?;
        let mut io = signal(SignalKind::io())?;
        for round in 1..=2 {
            raise(SignalKind::quit());
            raise(SignalKind::io());
            quit.recv().await.unwrap();
            io.recv().await.unwrap();
            assert_eq!((PLAIN.load(SeqCst), INFO.load(SeqCst)), (round, round));
        }
        Ok(())
    })
}

#[test]
fn ctrl_c_counts_from_the_call() -> io::Result<()> {
    filch::run(async {
        let pressed = filch::signal::ctrl_c();
        raise(SignalKind::interrupt());
        pressed.await
    })
}

#[test]
fn what_cannot_be_listened_for_is_refused() -> io::Result<()> {
    filch::run(async {
        for number in
            [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, 0, -1, 65]
        {
            let error = signal(SignalKind::from_raw(number)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{number}: {error}");
        }
        signal(SignalKind::from_raw(libc::SIGRTMIN()))?;
        Ok(())
    })
}
