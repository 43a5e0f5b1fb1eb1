//! What sockets owe the runtime: they leave room for other tasks, say what they wait for, and do not outlive it.

use std::io;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use filch::io::{AsyncReadExt, AsyncWriteExt, Interest};
use filch::net::{TcpListener, UdpSocket, UnixStream};
use filch::{Builder, WaitKind};

/// A socket that is always ready: the task that uses it yields all the same, after at most 128 operations.
#[test]
fn a_ready_socket_leaves_room_for_other_tasks() -> io::Result<()> {
    const BUDGET: usize = 128;
    let runtime = Builder::single_thread().build()?;
    runtime.block_on(async {
        let (mut one, other) = UnixStream::pair()?;
        let udp = UdpSocket::bind("127.0.0.1:0").await?;
        udp.send_to(b"x", udp.local_addr()?).await?;
        one.write_all(b"x").await?;
        let sibling = filch::spawn(async {});
        let mut operations = 0;
        while !sibling.is_finished() {
            udp.peek(&mut [0; 1]).await?;
            other.readable().await?;
            operations += 2;
            assert!(operations <= 2 * BUDGET, "the sibling starves");
        }
        Ok(())
    })
}

#[test]
fn a_task_says_that_it_waits_for_a_socket_and_on_which_line() -> io::Result<()> {
    let runtime = Builder::single_thread().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (mut quiet, _peer) = UnixStream::pair()?;
        let line = line!() + 1;
        let accepts = filch::spawn(async move { listener.accept().await.map(drop) });
        let reads = filch::spawn(async move { quiet.read(&mut [0; 1]).await });
        // In the single-threaded flavour tasks run in the order in which they were spawned.
        filch::spawn(async {}).await.unwrap();
        let tasks = runtime.handle().tasks();
        let waits = |id| tasks.iter().find(|task| task.id == id).unwrap();
        let accept = waits(accepts.id());
        assert_eq!(accept.wait, WaitKind::Readable);
        let location = accept.wait_location.unwrap();
        assert_eq!((location.file(), location.line()), (file!(), line));
        assert_eq!(waits(reads.id()).wait, WaitKind::Readable);
        assert_ne!(waits(reads.id()).wait_resource, accept.wait_resource);
        accepts.abort();
        reads.abort();
        Ok(())
    })
}

/// What is there is still read; what would wait for the reactor that is gone fails, and says why.
#[test]
fn a_socket_of_a_runtime_that_was_shut_down() -> io::Result<()> {
    let runtime = Builder::new().workers(1).build()?;
    let (mut ours, theirs) = runtime.block_on(async {
        let (ours, theirs) = UnixStream::pair()?;
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(ours.ready(Interest::READABLE)).as_mut().poll(&mut cx).is_pending());
        io::Result::Ok((ours, theirs))
    })?;
    runtime.shutdown(Duration::from_secs(1));
    filch::run(async {
        assert_eq!(theirs.try_write(b"last")?, 4);
        let mut buf = [0; 8];
        assert_eq!(ours.read(&mut buf).await?, 4);
        for error in [ours.read(&mut buf).await.unwrap_err(), ours.readable().await.unwrap_err()] {
            assert!(error.to_string().contains("has been shut down"), "{error}");
        }
        Ok(())
    })
}
