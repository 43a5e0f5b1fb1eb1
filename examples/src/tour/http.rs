//! The part about the web server: types, ranges, HEAD, paths that leave the folder, many clients, a clean end.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use filch::io::{AsyncReadExt, AsyncWriteExt};
use filch::net::TcpStream;

use super::wire::{get, in_time, parse};
use super::{Error, Part};
use crate::http_server::{Config, serve};

/// Larger than the buffers of a loopback connection, so that a client that stops reading stops the server.
const BIG: usize = 24 << 20;

pub(super) async fn show(part: &mut Part) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("site");
    fs::create_dir(&root)?;
    fs::write(root.join("index.html"), "<h1>filch</h1>")?;
    fs::write(root.join("pic.png"), [7; 1000])?;
    fs::write(root.join("big.bin"), pattern())?;
    fs::write(folder.path().join("secret"), "secret")?;
    std::os::unix::fs::symlink("../secret", root.join("link"))?;
    let server = serve(Config { addr: "127.0.0.1:0".parse()?, root }).await?;
    let addr = server.addr();

    files(part, addr).await?;
    refusals(part, addr).await?;
    many(part, addr).await?;

    // A download under way, whose reader has stopped: the server waits for it, and accepts nobody else.
    let mut download = TcpStream::connect(addr).await?;
    download.write_all(b"GET /big.bin HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    let mut bytes = vec![0; 1000];
    in_time(download.read_exact(&mut bytes)).await?;
    let ending = filch::spawn(server.stop(Duration::from_secs(10)));
    while TcpStream::connect(addr).await.is_ok() {
        filch::yield_now().await;
    }
    let waited = !ending.is_finished();
    in_time(download.read_to_end(&mut bytes)).await?;
    let ended = ending.await?;
    let whole = parse(&bytes)?.body == pattern();
    part.show(
        waited && ended && whole,
        "the server ends: no one new is let in, a download under way is finished",
    );
    Ok(())
}

fn pattern() -> Vec<u8> {
    (0..BIG).map(|n| (n % 251) as u8).collect()
}

async fn files(part: &mut Part, addr: SocketAddr) -> Result<(), Error> {
    let page = get(addr, "GET", "/", "").await?;
    let right = page.status == 200
        && page.body == b"<h1>filch</h1>"
        && page.header("content-type") == Some("text/html; charset=utf-8");
    part.show(right, "a page comes with its type");

    let head = get(addr, "HEAD", "/pic.png", "").await?;
    let right = head.status == 200
        && head.body.is_empty()
        && head.header("content-length") == Some("1000")
        && head.header("content-type") == Some("image/png");
    part.show(right, "HEAD gives the length and sends nothing");

    let range = get(addr, "GET", "/big.bin", "range: bytes=1000000-1000003\r\n").await?;
    let right = range.status == 206
        && range.body == pattern()[1_000_000..=1_000_003]
        && range.header("content-range") == Some(format!("bytes 1000000-1000003/{BIG}").as_str());
    part.show(right, "a range of a large file is those four bytes");

    let beyond = get(addr, "GET", "/pic.png", "range: bytes=1000-\r\n").await?;
    let right = beyond.status == 416 && beyond.header("content-range") == Some("bytes */1000");
    part.show(right, "a range beyond the end is refused, with the length");

    let etag = head.header("etag").unwrap_or("none").to_owned();
    let again = get(addr, "GET", "/pic.png", &format!("if-none-match: {etag}\r\n")).await?;
    part.show(again.status == 304 && again.body.is_empty(), "what the client has already is not sent again");
    Ok(())
}

async fn refusals(part: &mut Part, addr: SocketAddr) -> Result<(), Error> {
    let mut kept = true;
    for path in ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "/a/../../secret", "/link"] {
        let response = get(addr, "GET", path, "").await?;
        kept &= response.status == 403 && !String::from_utf8_lossy(&response.body).contains("secret");
    }
    part.show(kept, "no path leads out of the folder: not `..`, not encoded, not over a link");
    let missing = get(addr, "GET", "/no/such", "").await?.status;
    let posted = get(addr, "POST", "/", "content-length: 0\r\n").await?;
    let nonsense = get(addr, "GET", "/a%00b", "").await?.status;
    let right = (missing, posted.status, nonsense) == (404, 405, 400) && posted.header("allow").is_some();
    part.show(right, "what is missing, not allowed or nonsense is answered with 404, 405 and 400");
    Ok(())
}

async fn many(part: &mut Part, addr: SocketAddr) -> Result<(), Error> {
    let clients: Vec<_> = (0..50)
        .map(|_| {
            filch::spawn(async move {
                let mut right = 0;
                for _ in 0..10 {
                    let page = get(addr, "GET", "/", "").await?;
                    right += usize::from(page.body == b"<h1>filch</h1>");
                }
                std::io::Result::Ok(right)
            })
        })
        .collect();
    let mut right = 0;
    for client in clients {
        right += client.await??;
    }
    part.show(right == 500, format_args!("50 clients at once: {right} of 500 answers right"));
    Ok(())
}
