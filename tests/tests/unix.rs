//! Unix sockets: what `filch::net::{UnixListener, UnixStream, UnixDatagram}` promise.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use filch::io::{AsyncReadExt, AsyncWriteExt, copy};
use filch::net::{UnixDatagram, UnixListener, UnixStream};

/// A path that no other test has; the file goes at the end.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> SocketPath {
        SocketPath(std::env::temp_dir().join(format!("filch-{}-{name}.sock", std::process::id())))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_connection_by_path() -> io::Result<()> {
    let path = SocketPath::new("stream");
    filch::run(async {
        let listener = UnixListener::bind(&path.0)?;
        assert_eq!(listener.local_addr()?.as_pathname(), Some(path.0.as_path()));
        let mut client = UnixStream::connect(&path.0).await?;
        let (server, peer) = listener.accept().await?;
        assert!(peer.is_unnamed());
        assert_eq!(client.peer_addr()?.as_pathname(), Some(path.0.as_path()));
        let echo = filch::spawn(async move { copy(&server, &server).await });
        client.write_all(b"echo").await?;
        client.close().await?;
        let mut back = String::new();
        client.read_to_string(&mut back).await?;
        assert_eq!(back, "echo");
        assert_eq!(echo.await.unwrap()?, 4);
        Ok(())
    })
}

#[test]
fn the_peer_is_known() -> io::Result<()> {
    filch::run(async {
        let (one, _two) = UnixStream::pair()?;
        let cred = one.peer_cred()?;
        assert_eq!(cred.pid(), i32::try_from(std::process::id()).ok());
        // SAFETY: both only return a number.
        assert_eq!((cred.uid(), cred.gid()), unsafe { (libc::geteuid(), libc::getegid()) });
        Ok(())
    })
}

#[test]
fn halves_end_the_stream_when_the_writing_one_is_dropped() -> io::Result<()> {
    filch::run(async {
        let (one, mut two) = UnixStream::pair()?;
        let (mut read, mut write) = one.into_split();
        write.write_all(b"x").await?;
        drop(write);
        let mut text = String::new();
        two.read_to_string(&mut text).await?;
        assert_eq!(text, "x");
        two.write_all(b"y").await?;
        assert_eq!(read.read(&mut [0; 4]).await?, 1);
        Ok(())
    })
}

#[test]
fn nt8_a_peer_that_is_gone_is_an_error_and_no_signal() -> io::Result<()> {
    filch::run(async {
        let (mut one, two) = UnixStream::pair()?;
        drop(two);
        assert_eq!(one.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(one.read(&mut [0; 1]).await?, 0);
        Ok(())
    })
}

#[test]
fn more_than_the_buffers_hold_arrives_whole() -> io::Result<()> {
    filch::run(async {
        let (mut one, mut two) = UnixStream::pair()?;
        let writer = filch::spawn(async move {
            for number in 0..100_000_u64 {
                one.write_all(&number.to_be_bytes()).await?;
            }
            io::Result::Ok(())
        });
        let mut buf = [0; 8];
        for number in 0..100_000_u64 {
            two.read_exact(&mut buf).await?;
            assert_eq!(u64::from_be_bytes(buf), number);
        }
        writer.await.unwrap()?;
        assert_eq!(two.read(&mut buf).await?, 0);
        Ok(())
    })
}

/// Linux answers "try again" when the queue of a listener is full, and reports no room later.
#[test]
fn connecting_waits_for_a_place_in_the_queue() -> io::Result<()> {
    let path = SocketPath::new("queue");
    filch::run(async {
        let raw = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        raw.bind(&socket2::SockAddr::unix(&path.0)?)?;
        raw.listen(0)?;
        let listener = UnixListener::from_std(raw.into())?;
        let _first = UnixStream::connect(&path.0).await?;
        let second = filch::spawn({
            let path = path.0.clone();
            async move { UnixStream::connect(path).await }
        });
        listener.accept().await?;
        listener.accept().await?;
        second.await.unwrap()?;
        Ok(())
    })
}

#[test]
fn datagrams_by_path_and_by_pair() -> io::Result<()> {
    let (server_path, client_path) = (SocketPath::new("server"), SocketPath::new("client"));
    filch::run(async {
        let server = UnixDatagram::bind(&server_path.0)?;
        let client = UnixDatagram::bind(&client_path.0)?;
        client.connect(&server_path.0)?;
        client.send(b"question").await?;
        let mut buf = [0; 16];
        let (count, from) = server.recv_from(&mut buf).await?;
        assert_eq!((&buf[..count], from.as_pathname()), (&b"question"[..], Some(client_path.0.as_path())));
        server.send_to(b"answer", &client_path.0).await?;
        assert_eq!(client.recv(&mut buf).await?, 6);

        let (one, two) = UnixDatagram::pair()?;
        let mut sent = 0_u32;
        while one.try_send(&sent.to_be_bytes()).is_ok() {
            sent += 1;
        }
        let writer = filch::spawn(async move { one.send(&sent.to_be_bytes()).await });
        for number in 0..=sent {
            let mut buf = [0; 4];
            two.recv(&mut buf).await?;
            assert_eq!(u32::from_be_bytes(buf), number);
        }
        assert_eq!(writer.await.unwrap()?, 4);
        Ok(())
    })
}

#[test]
fn errors_name_the_path_and_what_helps() -> io::Result<()> {
    let path = SocketPath::new("errors");
    filch::run(async {
        let nothing = UnixStream::connect(&path.0).await.unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::NotFound);
        drop(UnixListener::bind(&path.0)?);
        let taken = UnixListener::bind(&path.0).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let text = taken.to_string();
        assert!(text.contains(path.0.to_str().unwrap()) && text.contains("remove it"), "{text}");
        let nobody = UnixStream::connect(&path.0).await.unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    })
}
