//! `filch::AsyncFd`: any descriptor, with readiness kept until an operation shows that it is over.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use filch::AsyncFd;
use filch::io::Interest;

fn pair() -> io::Result<(AsyncFd<UnixStream>, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((AsyncFd::new(ours)?, theirs))
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn readiness_stays_until_an_operation_would_block() -> io::Result<()> {
    filch::run(async {
        let (ours, mut theirs) = pair()?;
        assert!(poll_once(pin!(ours.readable())).is_pending());
        theirs.write_all(b"ab")?;
        drop(ours.readable().await?);
        let mut guard = ours.readable().await?;
        assert!(guard.ready().is_readable());
        let read = |guard: &mut filch::AsyncFdReadyGuard<'_, UnixStream>| {
            guard.try_io(|fd| fd.get_ref().read(&mut [0; 1]))
        };
        assert_eq!(read(&mut guard).unwrap()?, 1);
        assert_eq!(read(&mut guard).unwrap()?, 1);
        assert!(read(&mut guard).is_err());
        drop(guard);
        assert!(poll_once(pin!(ours.readable())).is_pending());
        ours.writable().await?.retain_ready();
        Ok(())
    })
}

/// A guard that was given before the news cannot take the news away.
#[test]
fn nt3_an_old_guard_clears_no_newer_readiness() -> io::Result<()> {
    filch::run(async {
        let (ours, mut theirs) = pair()?;
        theirs.write_all(b"a")?;
        let mut old = ours.readable().await?;
        ours.try_io(Interest::READABLE, |mut fd| fd.read(&mut [0; 8]))?;
        assert!(ours.try_io(Interest::READABLE, |mut fd| fd.read(&mut [0; 8])).is_err());
        theirs.write_all(b"b")?;
        drop(ours.readable().await?);
        old.clear_ready();
        drop(old);
        drop(ours.readable().await?);
        Ok(())
    })
}

#[test]
fn the_end_stays_known() -> io::Result<()> {
    filch::run(async {
        let (ours, theirs) = pair()?;
        drop(theirs);
        for _ in 0..3 {
            let mut guard = ours.readable().await?;
            assert!(guard.ready().is_read_closed());
            guard.clear_ready();
        }
        assert_eq!(ours.async_io(Interest::READABLE, |mut fd| fd.read(&mut [0; 1])).await?, 0);
        Ok(())
    })
}

#[test]
fn nt6_reading_and_writing_are_separate() -> io::Result<()> {
    filch::run(async {
        let (ours, mut theirs) = pair()?;
        drop(ours.writable().await?);
        let mut filled = 0;
        let full = loop {
            match ours.try_io(Interest::WRITABLE, |mut fd| fd.write(&[7; 4096])) {
                Ok(count) => filled += count,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        assert!(poll_once(pin!(ours.writable())).is_pending());
        theirs.write_all(b"x")?;
        drop(ours.readable().await?);
        assert!(poll_once(pin!(ours.writable())).is_pending(), "news for the reader is none for the writer");
        let mut buf = vec![0; filled];
        theirs.read_exact(&mut buf)?;
        drop(ours.writable().await?);
        Ok(())
    })
}

#[test]
fn polling_and_waiting_mix() -> io::Result<()> {
    filch::run(async {
        let (ours, mut theirs) = pair()?;
        let ours = std::sync::Arc::new(ours);
        let polls = filch::spawn({
            let ours = ours.clone();
            async move { poll_fn(|cx| ours.poll_read_ready(cx).map_ok(|guard| guard.ready())).await }
        });
        let waits = filch::spawn({
            let ours = ours.clone();
            async move { ours.readable().await.map(|guard| guard.ready()) }
        });
        theirs.write_all(b"x")?;
        assert!(polls.await.unwrap()?.is_readable());
        assert!(waits.await.unwrap()?.is_readable());
        Ok(())
    })
}

#[test]
fn the_resource_comes_back_and_can_be_registered_again() -> io::Result<()> {
    filch::run(async {
        let (mut ours, mut theirs) = pair()?;
        theirs.write_all(b"abc")?;
        let count = ours.async_io_mut(Interest::READABLE, |fd| fd.read(&mut [0; 1])).await?;
        assert_eq!(count, 1);
        let mut guard = ours.readable_mut().await?;
        assert_eq!(guard.try_io(|fd| fd.get_mut().read(&mut [0; 1])).unwrap()?, 1);
        let plain = ours.into_inner();
        let again = AsyncFd::with_interest(plain, Interest::READABLE)?;
        assert_eq!(again.async_io(Interest::READABLE, |mut fd| fd.read(&mut [0; 8])).await?, 1);
        drop(again.writable().await?);
        Ok(())
    })
}

#[test]
fn a_regular_file_is_refused() -> io::Result<()> {
    filch::run(async {
        let file = std::fs::File::open("/proc/self/exe")?;
        assert!(AsyncFd::new(file).is_err());
        Ok(())
    })
}
