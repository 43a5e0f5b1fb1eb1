//! TCP: what `filch::net::{TcpListener, TcpStream, TcpSocket}` promise. Order is shown; no test sleeps.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice, Read};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use filch::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, copy};
use filch::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    Ok((client, server))
}

/// Polls once, with a waker that nobody listens to.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn bytes_go_both_ways_and_the_end_is_seen() -> io::Result<()> {
    filch::run(async {
        let (mut client, server) = pair().await?;
        let echo = filch::spawn(async move { copy(&server, &server).await });
        client.write_all(b"there and back").await?;
        client.close().await?;
        let mut back = String::new();
        client.read_to_string(&mut back).await?;
        assert_eq!(back, "there and back");
        assert_eq!(echo.await.unwrap()?, 14);
        Ok(())
    })
}

#[test]
fn nt7_more_than_the_buffers_hold_arrives_whole() -> io::Result<()> {
    filch::run(async {
        let (client, mut server) = pair().await?;
        let sent: Vec<u8> = (0..8 << 20).map(|i: u32| (i ^ i >> 8 ^ i >> 16) as u8).collect();
        let expected = sent.clone();
        let writer = filch::spawn(async move {
            (&client).write_all(&sent).await?;
            io::Result::Ok(client)
        });
        let mut got = vec![0; expected.len()];
        server.read_exact(&mut got).await?;
        assert!(got == expected);
        drop(writer.await.unwrap()?);
        assert_eq!(server.read(&mut got).await?, 0);
        Ok(())
    })
}

#[test]
fn nt9_a_dropped_read_and_a_dropped_accept_take_nothing() -> io::Result<()> {
    filch::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        assert!(poll_once(pin!(listener.accept())).is_pending());
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        let (mut server, peer) = listener.accept().await?;
        assert_eq!(peer, client.local_addr()?);

        let mut buf = [0; 8];
        assert!(poll_once(pin!(server.read(&mut buf))).is_pending());
        client.write_all(b"kept").await?;
        assert_eq!(server.read(&mut buf).await?, 4);
        assert_eq!(&buf[..4], b"kept");
        Ok(())
    })
}

/// The connection is there, the listener is known to be ready, and the future that would take it is dropped.
#[test]
fn a_connection_goes_to_the_accept_that_returns() -> io::Result<()> {
    filch::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let mut first = Box::pin(listener.accept());
        let mut second = Box::pin(listener.accept());
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(poll_once(second.as_mut()).is_pending());
        let client = TcpStream::connect(addr).await?;
        drop(first);
        let (_, peer) = second.await?;
        assert_eq!(peer, client.local_addr()?);
        assert!(poll_once(pin!(listener.accept())).is_pending(), "there was one connection");
        Ok(())
    })
}

#[test]
fn several_tasks_accept_and_each_connection_goes_to_one() -> io::Result<()> {
    filch::run(async {
        let listener = std::sync::Arc::new(TcpListener::bind("127.0.0.1:0").await?);
        let addr = listener.local_addr()?;
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let listener = listener.clone();
                filch::spawn(async move { io::Result::Ok(listener.accept().await?.1) })
            })
            .collect();
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(TcpStream::connect(addr).await?);
        }
        let mut peers = Vec::new();
        for task in tasks {
            peers.push(task.await.unwrap()?);
        }
        let mut expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        expected.sort();
        peers.sort();
        assert_eq!(peers, expected);
        Ok(())
    })
}

#[test]
fn incoming_gives_connections_in_order() -> io::Result<()> {
    use filch::net::tcp::Incoming;
    async fn next(incoming: &mut Incoming<'_>) -> io::Result<TcpStream> {
        poll_fn(|cx| futures_core::Stream::poll_next(Pin::new(&mut *incoming), cx)).await.unwrap()
    }
    filch::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut incoming = listener.incoming();
        for _ in 0..3 {
            let client = TcpStream::connect(listener.local_addr()?).await?;
            assert_eq!(next(&mut incoming).await?.peer_addr()?, client.local_addr()?);
        }
        Ok(())
    })
}

#[test]
fn nt6_one_task_reads_while_another_writes() -> io::Result<()> {
    filch::run(async {
        let (client, server) = pair().await?;
        let echo = filch::spawn(async move { copy(&server, &server).await });
        let (mut read, mut write) = client.into_split();
        let writer = filch::spawn(async move {
            for number in 0..1000_u32 {
                write.write_all(&number.to_be_bytes()).await?;
            }
            io::Result::Ok(())
        });
        for number in 0..1000_u32 {
            let mut buf = [0; 4];
            read.read_exact(&mut buf).await?;
            assert_eq!(u32::from_be_bytes(buf), number);
        }
        writer.await.unwrap()?;
        assert_eq!(
            read.read(&mut [0; 4]).await?,
            0,
            "the dropped half has ended the stream, and the echo with it"
        );
        assert_eq!(echo.await.unwrap()?, 4000);
        Ok(())
    })
}

#[test]
fn halves_are_joined_again_only_with_their_own() -> io::Result<()> {
    filch::run(async {
        let (client, server) = pair().await?;
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        let error = client_read.reunite(server_write).unwrap_err();
        let (client_read, server_write) = (error.0, error.1);
        let mut client = client_write.reunite(client_read).unwrap();
        let mut server = server_read.reunite(server_write).unwrap();
        client.write_all(b"whole").await?;
        let mut buf = [0; 5];
        server.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"whole");

        let (read, write) = client.into_split();
        write.forget();
        drop(read);
        assert_eq!(server.read(&mut buf).await?, 0);
        Ok(())
    })
}

#[test]
fn borrowed_halves_work_in_one_task() -> io::Result<()> {
    filch::run(async {
        let (mut client, mut server) = pair().await?;
        {
            let (mut read, mut write) = client.split();
            write.write_all(b"x").await?;
            server.write_all(b"y").await?;
            let mut buf = [0; 1];
            read.read_exact(&mut buf).await?;
            assert_eq!(&buf, b"y");
        }
        let mut buf = [0; 1];
        server.read_exact(&mut buf).await?;
        client.write_all(b"still open").await?;
        assert_eq!(server.read(&mut [0; 16]).await?, 10);
        Ok(())
    })
}

#[test]
fn nt8_what_was_sent_before_a_half_close_is_read_and_the_other_way_stays_open() -> io::Result<()> {
    filch::run(async {
        let (mut client, mut server) = pair().await?;
        client.write_all(b"last words").await?;
        client.shutdown().await?;
        let mut text = String::new();
        server.read_to_string(&mut text).await?;
        assert_eq!(text, "last words");
        for _ in 0..3 {
            assert_eq!(server.read(&mut [0; 4]).await?, 0);
        }
        server.write_all(b"answer").await?;
        drop(server);
        text.clear();
        client.read_to_string(&mut text).await?;
        assert_eq!(text, "answer");
        assert_eq!(client.write(b"too late").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        Ok(())
    })
}

/// The process lives: no SIGPIPE, on the vectored path either.
#[test]
fn nt8_a_reset_is_an_error_for_reader_and_writer() -> io::Result<()> {
    filch::run(async {
        let (mut client, server) = pair().await?;
        server.set_linger(Some(Duration::ZERO))?;
        drop(server);
        let error = client.read(&mut [0; 4]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let bufs = [IoSlice::new(b"x"), IoSlice::new(b"y")];
        let error = poll_fn(|cx| Pin::new(&mut client).poll_write_vectored(cx, &bufs)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        Ok(())
    })
}

#[test]
fn nt8_an_empty_buffer_is_not_the_end() -> io::Result<()> {
    filch::run(async {
        let (mut client, mut server) = pair().await?;
        client.write_all(b"data").await?;
        server.readable().await?;
        assert_eq!(server.read(&mut []).await?, 0);
        assert_eq!(server.write(&[]).await?, 0);
        assert_eq!(server.read(&mut [0; 8]).await?, 4);
        Ok(())
    })
}

#[test]
fn peeking_takes_nothing() -> io::Result<()> {
    filch::run(async {
        let (mut client, mut server) = pair().await?;
        client.write_all(b"look").await?;
        let mut buf = [0; 4];
        for _ in 0..2 {
            assert_eq!(server.peek(&mut buf).await?, 4);
        }
        assert_eq!(poll_fn(|cx| server.poll_peek(cx, &mut buf)).await?, 4);
        buf = [0; 4];
        server.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"look");
        Ok(())
    })
}

#[test]
fn readiness_and_try() -> io::Result<()> {
    filch::run(async {
        let (client, server) = pair().await?;
        assert!(poll_once(pin!(server.readable())).is_pending(), "nothing was sent");
        assert_eq!(server.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        client.writable().await?;
        assert_eq!(client.try_write(b"ab")?, 2);
        assert_eq!(client.try_write_vectored(&[IoSlice::new(b"c"), IoSlice::new(b"d")])?, 2);
        let mut got = Vec::new();
        while got.len() < 4 {
            server.readable().await?;
            let mut buf = [0; 8];
            match server.try_read(&mut buf) {
                Ok(count) => got.extend_from_slice(&buf[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(got, b"abcd");
        assert_eq!(server.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);

        drop(client);
        let ready = server.ready(Interest::READABLE | Interest::WRITABLE).await?;
        assert!(ready.is_readable() || ready.is_writable());
        server.readable().await?;
        assert_eq!(server.try_read(&mut [0; 8])?, 0);
        Ok(())
    })
}

#[test]
fn nt6_several_tasks_wait_for_one_stream_and_all_hear() -> io::Result<()> {
    filch::run(async {
        let (mut client, server) = pair().await?;
        let server = std::sync::Arc::new(server);
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let server = server.clone();
                filch::spawn(async move { server.readable().await })
            })
            .collect();
        client.write_all(b"x").await?;
        for task in tasks {
            task.await.unwrap()?;
        }
        Ok(())
    })
}

/// Two tasks read through the one place for those who poll: slow, but neither is forgotten.
#[test]
fn nt6_two_readers_of_one_stream_both_end() -> io::Result<()> {
    filch::run(async {
        let (mut client, server) = pair().await?;
        let server = std::sync::Arc::new(server);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let server = server.clone();
                filch::spawn(async move { (&*server).read(&mut [0; 1]).await })
            })
            .collect();
        client.write_all(b"xy").await?;
        for reader in readers {
            assert_eq!(reader.await.unwrap()?, 1);
        }
        Ok(())
    })
}

#[test]
fn errors_name_the_address_and_what_helps() -> io::Result<()> {
    filch::run(async {
        let taken = TcpListener::bind("127.0.0.1:0").await?;
        let addr = taken.local_addr()?;
        let in_use = TcpListener::bind(addr).await.unwrap_err();
        assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
        let text = in_use.to_string();
        assert!(text.contains(&format!("listen on {addr}")) && text.contains("choose another"), "{text}");

        drop(taken);
        let refused = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(refused.to_string().contains(&addr.to_string()), "{refused}");

        let unread = TcpStream::connect("localhost").await.unwrap_err();
        assert_eq!(unread.kind(), ErrorKind::InvalidInput);
        assert!(unread.to_string().contains("no port"), "{unread}");
        assert_eq!(TcpStream::connect(&[][..]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        Ok(())
    })
}

#[test]
fn the_addresses_are_tried_in_turn() -> io::Result<()> {
    filch::run(async {
        let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let open = listener.local_addr()?;
        assert_eq!(TcpStream::connect([closed, open]).await?.peer_addr()?, open);
        let error = TcpStream::connect(&[closed, closed][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let bound = TcpListener::bind([open, ([127, 0, 0, 1], 0).into()]).await?;
        assert_ne!(bound.local_addr()?, open);
        Ok(())
    })
}

#[test]
fn a_host_name_is_looked_up() -> io::Result<()> {
    filch::run(async {
        let found: Vec<_> = lookup_host("localhost:7").await?.collect();
        assert!(found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 7), "{found:?}");
        let listener = TcpListener::bind(("localhost", 0)).await?;
        let port = listener.local_addr()?.port();
        TcpStream::connect(format!("localhost:{port}")).await?;
        Ok(())
    })
}

#[test]
fn a_socket_keeps_its_options() -> io::Result<()> {
    filch::run(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        socket.set_keepalive(true)?;
        socket.set_send_buffer_size(64 << 10)?;
        socket.set_linger(Some(Duration::from_secs(1)))?;
        assert!(socket.nodelay()? && socket.keepalive()? && !socket.reuseport()?);
        assert!(socket.send_buffer_size()? >= 64 << 10);
        socket.bind("127.0.0.1:0".parse().unwrap())?;
        let ours = socket.local_addr()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let stream = socket.connect(listener.local_addr()?).await?;
        assert_eq!(stream.local_addr()?, ours);
        assert!(stream.nodelay()? && stream.keepalive()?);
        assert_eq!(stream.linger()?, Some(Duration::from_secs(1)));
        stream.set_keepalive(None)?;
        stream.set_linger(None)?;
        stream.set_ttl(17)?;
        assert!(!stream.keepalive()?);
        assert_eq!(stream.ttl()?, 17);
        assert!(stream.take_error()?.is_none());
        Ok(())
    })
}

#[test]
fn sockets_come_from_std_and_go_back() -> io::Result<()> {
    let std_listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut std_client = std::net::TcpStream::connect(std_listener.local_addr()?)?;
    let mut std_server = filch::run(async {
        let listener = TcpListener::from_std(std_listener)?;
        let (mut server, _) = listener.accept().await?;
        assert!(poll_once(pin!(server.read(&mut [0; 1]))).is_pending());
        server.write_all(b"async").await?;
        server.into_std()
    })?;
    let mut buf = [0; 5];
    std_client.read_exact(&mut buf)?;
    assert_eq!(&buf, b"async");
    std_server.set_nonblocking(false)?;
    io::Write::write_all(&mut std_client, b"plain")?;
    std_server.read_exact(&mut buf)?;
    assert_eq!(&buf, b"plain");
    Ok(())
}

#[test]
fn outside_of_a_runtime_is_an_error_and_not_a_panic() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = std::thread::spawn(move || TcpListener::from_std(socket).unwrap_err()).join().unwrap();
    assert!(error.to_string().contains("no filch runtime on this thread"), "{error}");
}

#[test]
fn everything_goes_to_other_threads() {
    fn send_sync<T: Send + Sync>() {}
    fn send<T: Send>(_: &T) {}
    send_sync::<(TcpListener, TcpStream, TcpSocket)>();
    send_sync::<(filch::net::tcp::OwnedReadHalf, filch::net::tcp::OwnedWriteHalf)>();
    send(&TcpStream::connect("127.0.0.1:1"));
    send(&TcpStream::connect(("localhost".to_owned(), 1)));
    send(&TcpListener::bind("127.0.0.1:1"));
    fn io<T: AsyncRead + AsyncWrite + Send>() {}
    io::<TcpStream>();
    io::<&TcpStream>();
}
