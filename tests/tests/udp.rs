//! UDP: what `filch::net::UdpSocket` promises.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::{Context, Waker};

use filch::net::UdpSocket;

async fn local() -> io::Result<UdpSocket> {
    UdpSocket::bind("127.0.0.1:0").await
}

#[test]
fn messages_keep_their_bounds_and_their_sender() -> io::Result<()> {
    filch::run(async {
        let (one, two) = (local().await?, local().await?);
        for message in [&b"a"[..], b"", b"three"] {
            assert_eq!(one.send_to(message, two.local_addr()?).await?, message.len());
        }
        let mut buf = [0; 8];
        for message in [&b"a"[..], b"", b"three"] {
            let (count, from) = two.recv_from(&mut buf).await?;
            assert_eq!((&buf[..count], from), (message, one.local_addr()?));
        }
        Ok(())
    })
}

#[test]
fn a_connected_socket_hears_its_peer_only() -> io::Result<()> {
    filch::run(async {
        let (one, two, stranger) = (local().await?, local().await?, local().await?);
        one.connect(two.local_addr()?).await?;
        assert_eq!(one.peer_addr()?, two.local_addr()?);
        stranger.send_to(b"spam", one.local_addr()?).await?;
        two.send_to(b"ham", one.local_addr()?).await?;
        let mut buf = [0; 8];
        assert_eq!(one.recv(&mut buf).await?, 3);
        assert_eq!(&buf[..3], b"ham");
        one.send(b"thanks").await?;
        assert_eq!(two.recv(&mut buf).await?, 6);
        Ok(())
    })
}

#[test]
fn a_refused_message_is_told_to_the_next_call_and_ends_nothing() -> io::Result<()> {
    filch::run(async {
        let one = local().await?;
        let gone = local().await?.local_addr()?;
        one.connect(gone).await?;
        one.send(b"anybody?").await?;
        let error = one.recv(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let two = local().await?;
        one.connect(two.local_addr()?).await?;
        two.send_to(b"here", one.local_addr()?).await?;
        assert_eq!(one.recv(&mut [0; 8]).await?, 4);
        Ok(())
    })
}

#[test]
fn a_dropped_receive_takes_nothing_and_peeking_neither() -> io::Result<()> {
    filch::run(async {
        let (one, two) = (local().await?, local().await?);
        let mut buf = [0; 8];
        assert!(pin!(two.recv_from(&mut buf)).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        one.send_to(b"kept", two.local_addr()?).await?;
        assert_eq!(two.peek_from(&mut buf).await?, (4, one.local_addr()?));
        assert_eq!(two.peek(&mut buf).await?, 4);
        assert_eq!(poll_fn(|cx| two.poll_peek_from(cx, &mut buf)).await?.0, 4);
        assert_eq!(poll_fn(|cx| two.poll_recv(cx, &mut buf)).await?, 4);
        assert_eq!(two.try_recv_from(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        Ok(())
    })
}

#[test]
fn several_tasks_share_a_socket() -> io::Result<()> {
    filch::run(async {
        let server = std::sync::Arc::new(local().await?);
        let addr = server.local_addr()?;
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let server = server.clone();
                filch::spawn(async move {
                    let mut buf = [0; 1];
                    let (_, from) = server.recv_from(&mut buf).await?;
                    server.send_to(&buf, from).await
                })
            })
            .collect();
        let client = local().await?;
        client.connect(addr).await?;
        for number in 0..4 {
            client.send(&[number]).await?;
        }
        let mut answers = Vec::new();
        for _ in 0..4 {
            let mut buf = [0; 1];
            client.recv(&mut buf).await?;
            answers.push(buf[0]);
        }
        answers.sort_unstable();
        assert_eq!(answers, [0, 1, 2, 3]);
        for task in tasks {
            task.await.unwrap()?;
        }
        Ok(())
    })
}

#[test]
fn options_are_kept() -> io::Result<()> {
    filch::run(async {
        let socket = local().await?;
        socket.set_broadcast(true)?;
        socket.set_ttl(9)?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_ttl_v4(3)?;
        assert!(socket.broadcast()? && !socket.multicast_loop_v4()?);
        assert_eq!((socket.ttl()?, socket.multicast_ttl_v4()?), (9, 3));
        let group = Ipv4Addr::new(239, 1, 2, 3);
        assert!(socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).is_err(), "not a member");
        socket.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
        socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
        let socket = UdpSocket::from_std(socket.into_std()?)?;
        assert!(socket.take_error()?.is_none());
        let addr = socket.local_addr()?;
        let error = UdpSocket::bind(addr).await.unwrap_err();
        assert!(error.to_string().contains(&format!("cannot bind to {addr}")), "{error}");
        Ok(())
    })
}
