//! Our streams in the hands of libraries: hyper's client and server, and tokio's io traits.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use filch::net::{TcpListener, TcpStream, UnixStream};
use hyper::body::{Body, Incoming};
use hyper::rt::{Executor, Read, Timer, Write};
use hyper::service::service_fn;
use hyper::{Request, Response};

async fn text(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        bytes.extend(frame.unwrap().into_data().unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = text(request.into_body()).await;
    Ok(Response::new(format!("{path} {}", body.len())))
}

async fn serve(stream: impl Read + Write + Unpin + Send + 'static) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(filch::hyper::Timer).header_read_timeout(Duration::from_secs(30));
    builder.serve_connection(stream, service_fn(answer)).await.unwrap();
}

/// Three requests on one connection; the bodies are more than the buffers hold.
async fn ask(stream: impl Read + Write + Unpin + Send + 'static) {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    filch::hyper::Executor.execute(async move { connection.await.unwrap() });
    for path in ["/one", "/two", "/three"] {
        let body = "x".repeat(1 << 20);
        let request = Request::post(path).header("host", "test").body(body).unwrap();
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(text(response.into_body()).await, format!("{path} {}", 1 << 20));
    }
}

#[test]
fn http_over_tcp() -> io::Result<()> {
    filch::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let server = filch::spawn(async move { serve(listener.accept().await.unwrap().0).await });
        ask(TcpStream::connect(addr).await?).await;
        server.await.unwrap();
        Ok(())
    })
}

#[test]
fn http_over_any_stream() -> io::Result<()> {
    filch::run(async {
        let (client, server) = UnixStream::pair()?;
        let server = filch::spawn(serve(filch::hyper::Io::new(server)));
        ask(filch::hyper::Io::new(client)).await;
        server.await.unwrap();
        Ok(())
    })
}

#[test]
fn a_timer_of_hyper_can_be_moved() {
    filch::run(async {
        let timer = filch::hyper::Timer;
        let mut sleep = timer.sleep(Duration::from_secs(3600));
        timer.reset(&mut sleep, timer.now());
        sleep.await;
        timer.sleep_until(timer.now()).await;
    });
}

#[test]
fn tokio_traits() -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    filch::run(async {
        let (mut one, two) = UnixStream::pair()?;
        let (mut read, mut write) = two.into_split();
        let echo = filch::spawn(async move { tokio::io::copy(&mut read, &mut write).await });
        one.write_all(b"to tokio and back").await?;
        one.shutdown().await?;
        let mut text = String::new();
        one.read_to_string(&mut text).await?;
        assert_eq!(text, "to tokio and back");
        assert_eq!(echo.await.unwrap()?, 17);
        Ok(())
    })
}
