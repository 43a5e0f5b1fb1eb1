//! A client that speaks plain bytes, so that the tour sees what really goes over the wire.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use filch::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use filch::net::TcpStream;

/// Nothing that the tour waits for takes longer, unless it is lost.
const LONGEST: Duration = Duration::from_secs(10);

/// A response to [`get`].
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// In lower case, as all heads are compared here.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// The value of a header, in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends one request, with a connection of its own, and reads everything until the server closes it.
pub(super) async fn get(addr: SocketAddr, method: &str, path: &str, headers: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    in_time(stream.read_to_end(&mut bytes)).await?;
    parse(&bytes)
}

/// Splits what a server sent into status, head and body.
pub(super) fn parse(bytes: &[u8]) -> io::Result<Response> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the server did not answer in HTTP");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(wrong)?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
    Ok(Response { status, head, body: bytes[end + 4..].to_vec() })
}

/// Limits how long the tour waits.
pub(super) async fn in_time<T>(operation: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    filch::wait_for(operation, LONGEST).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "what the tour waited for did not come"))
    })
}

/// A client that talks in lines.
#[derive(Debug)]
pub(super) struct LineClient<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> LineClient<S> {
    pub(super) fn new(stream: S) -> LineClient<S> {
        LineClient { stream, read: Vec::new() }
    }

    pub(super) async fn say(&mut self, line: &str) -> io::Result<()> {
        in_time(self.stream.write_all(format!("{line}\n").as_bytes())).await
    }

    /// The next line; `None` when the server has closed the connection.
    pub(super) async fn hear(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.read.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            let mut piece = [0; 4096];
            match in_time(self.stream.read(&mut piece)).await? {
                0 => return Ok(None),
                n => self.read.extend_from_slice(&piece[..n]),
            }
        }
    }

    /// Skips lines until one contains `text`.
    pub(super) async fn hear_of(&mut self, text: &str) -> io::Result<String> {
        while let Some(line) = self.hear().await? {
            if line.contains(text) {
                return Ok(line);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("the server closed before it said `{text}`"),
        ))
    }
}
