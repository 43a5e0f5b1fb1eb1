//! An HTTP server over hyper, for wrk or another client from outside: filch, tokio or smol, two workers.
//!
//! `server --runtime filch|filch-reactors|tokio|smol [--root FOLDER] [--port N] [--workers N] [--seconds N]`
//! prints, at its end, the CPU time that it used for each request. It says hello, or serves the files of
//! FOLDER as the demo `http_server` does: one job on the runtime's blocking pool finds and reads the file.
//! The service is the same for all; each runtime's stream goes to hyper through the adapter that its users
//! use. `filch-reactors` is filch with a reactor for each worker.
use std::convert::Infallible;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use filch_benches::harness::Usage;
use filch_benches::runtimes::{Filch, Rt, Smol, SmolRoot, Tokio};
use filch_examples::http_server::{FileBody, Site, answer};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static SITE: OnceLock<Site> = OnceLock::new();

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // The same shared count for all.
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    Ok(Response::new(Full::new(Bytes::from_static(b"Hello, world!"))))
}

/// A file of the folder, found and read on the blocking pool of `R`.
async fn file<R: Rt>(request: Request<Incoming>) -> Result<Response<FileBody>, Infallible> {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    let head = *request.method() == Method::HEAD;
    let job = move || {
        let site = SITE.get().expect("set before anything is served");
        answer(site, request.uri().path(), request.headers(), head)
    };
    let mut response = R::unblock(job).await;
    // Longer files come in pieces, through the blocking pool of filch only: not the same work for all.
    if matches!(response.body(), FileBody::Part(_)) {
        response = Response::new(FileBody::Whole(None));
        *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    }
    Ok(response)
}

/// Serves for ever. `$stream` makes of an accepted stream what hyper takes.
macro_rules! serve {
    ($rt:ty, $listener:expr, |$stream:ident| $io:expr) => {{
        let mut listener = $listener;
        <$rt>::detach(async move {
            loop {
                let $stream = <$rt>::accept(&mut listener).await.expect("accept");
                let io = $io;
                <$rt>::detach(async move {
                    // A client that goes away is no news.
                    let _ = if SITE.get().is_none() {
                        http1::Builder::new().serve_connection(io, service_fn(hello)).await
                    } else {
                        http1::Builder::new().serve_connection(io, service_fn(file::<$rt>)).await
                    };
                });
            }
        })
    }};
}

fn main() -> Result<(), lexopt::Error> {
    use lexopt::prelude::*;
    let (mut runtime, mut port, mut workers, mut seconds) = ("filch".to_owned(), 8080_u16, 2_usize, u64::MAX);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("runtime") => runtime = args.value()?.string()?,
            Long("root") => {
                let root = args.value()?;
                let site = Site::open(Path::new(&root)).map_err(|error| error.to_string())?;
                SITE.get_or_init(|| site);
            }
            Long("port") => port = args.value()?.parse()?,
            Long("workers") => workers = args.value()?.parse()?,
            Long("seconds") => seconds = args.value()?.parse()?,
            Long("help") | Short('h') => {
                println!(
                    "server [--runtime filch|filch-reactors|tokio|smol] [--root FOLDER] [--port N] [--workers N]\n\
                     \x20      [--seconds N]"
                );
                return Ok(());
            }
            _ => return Err(arg.unexpected()),
        }
    }
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port");
    listener.set_nonblocking(true).expect("non-blocking");
    println!("{runtime} listens on {}, {workers} workers", listener.local_addr().expect("an address"));
    let before = Usage::now();
    match runtime.as_str() {
        "filch" | "filch-reactors" => {
            let rt = Filch::new(workers, runtime == "filch-reactors");
            rt.block_on(async {
                let listener = filch::net::TcpListener::from_std(listener).expect("listen");
                serve!(Filch, listener, |stream| stream);
            });
            wait(seconds);
        }
        "tokio" => {
            let rt = Tokio::new(workers);
            rt.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("listen");
                serve!(Tokio, listener, |stream| hyper_util::rt::TokioIo::new(stream));
            });
            wait(seconds);
        }
        "smol" => {
            let rt = Smol::new(workers, SmolRoot::Alone);
            rt.block_on(async {
                let listener = smol::Async::try_from(listener).expect("listen").into();
                serve!(Smol, listener, |stream| smol_hyper::rt::FuturesIo::new(stream));
            });
            wait(seconds);
        }
        other => return Err(format!("no such runtime: {other}; filch, filch-reactors, tokio or smol").into()),
    }
    let used = Usage::now().since(before);
    let requests = REQUESTS.load(Ordering::Relaxed);
    let each = used.cpu.as_secs_f64() * 1e6 / requests.max(1) as f64;
    let switches = used.switches as f64 * 1e3 / requests.max(1) as f64;
    println!("{requests} requests, {each:.2} us of CPU each, {switches:.0} context switches for 1,000");
    // What is still connected is not waited for.
    std::process::exit(0);
}

/// The workers serve; this thread only waits.
fn wait(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}
