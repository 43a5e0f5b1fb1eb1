//! The demo `http_server`: files of a folder over HTTP/1.1, by hyper on filch.
//!
//! Owns the command line, the accept loop and the orderly end. `respond` turns a request into a response,
//! `files` finds what a path means, `body` streams a file.

mod body;
mod files;
mod respond;

pub use body::{FileBody, Part};
pub use files::Site;
pub use respond::answer;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use filch::net::{TcpListener, TcpStream};
use hyper::server::conn::http1;
use hyper::service::service_fn;

use crate::stop::{Ended, Stop, stop};

pub(crate) const ABOUT: &str =
    "serves the files of a folder over HTTP/1.1: ranges, HEAD, a clean end on ctrl-c";

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the files of a folder over HTTP/1.1.
///
/// Names that begin with a dot are not served, and no path leads out of the folder. Ctrl-c ends it: requests
/// under way are finished first, a second ctrl-c cuts them off.
#[derive(Debug, clap::Parser)]
#[command(name = "http_server")]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080")]
    addr: SocketAddr,
    /// The folder to serve
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// How many worker threads; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// How many seconds requests under way may take after ctrl-c
    #[arg(long, default_value_t = 10)]
    grace: u64,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let args = match crate::parse::<Args>(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let runtime = match crate::runtime(args.workers) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match runtime.block_on(until_ctrl_c(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn until_ctrl_c(args: &Args) -> io::Result<()> {
    let server = serve(Config { addr: args.addr, root: args.root.clone() }).await?;
    println!("Serving {} on http://{}/ (ctrl-c ends it)", args.root.display(), server.addr());
    filch::signal::ctrl_c().await?;
    println!("Ending: requests under way have {} s, ctrl-c again cuts them off.", args.grace);
    let requests = server.requests();
    let all_ended = filch::select! {
        all_ended = server.stop(Duration::from_secs(args.grace)) => all_ended,
        _ = filch::signal::ctrl_c() => false,
    };
    let how = if all_ended { "all connections ended by themselves" } else { "some connections were cut off" };
    println!("Answered {requests} requests; {how}.");
    Ok(())
}

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// The folder to serve.
    pub root: PathBuf,
}

/// A server that is running. Dropping it ends it at once: nobody is accepted any more, connections end after
/// the request they are at.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    requests: Arc<AtomicU64>,
    ended: Ended,
}

impl Server {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many requests it has answered.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Accepts nobody any more, finishes the requests under way, and says whether that took less than `grace`.
    pub async fn stop(self, grace: Duration) -> bool {
        self.ended.tell();
        filch::wait_for(self.ended.wait(), grace).await.is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.tell();
    }
}

/// Starts a server on the runtime of the calling task.
///
/// # Errors
/// When the folder cannot be read or the address cannot be had.
pub async fn serve(config: Config) -> io::Result<Server> {
    let root = config.root;
    let site = filch::spawn_blocking(move || files::Site::open(&root)).await.map_err(io::Error::other)??;
    let listener = TcpListener::bind(config.addr).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", config.addr))
    })?;
    let (stop, ended) = stop();
    let requests = Arc::new(AtomicU64::new(0));
    let server = Server { addr: listener.local_addr()?, requests: requests.clone(), ended };
    filch::spawn(accept(listener, Arc::new(site), requests, stop));
    Ok(server)
}

async fn accept(listener: TcpListener, site: Arc<files::Site>, requests: Arc<AtomicU64>, stop: Stop) {
    loop {
        let accepted = filch::select! {
            biased;
            () = stop.told() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                filch::spawn(connection(stream, site.clone(), requests.clone(), stop.clone()));
            }
            // A connection that ended before it was accepted, or no descriptor left: `accept` itself waits a
            // little in that case.
            Err(error) => eprintln!("http_server: accept: {error}"),
        }
    }
}

async fn connection(stream: TcpStream, site: Arc<files::Site>, requests: Arc<AtomicU64>, stop: Stop) {
    // Without this, the end of a response may wait for the acknowledgement of its start.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        requests.fetch_add(1, Ordering::Relaxed);
        respond::respond(site.clone(), request)
    });
    let connection = http1::Builder::new()
        .timer(filch::hyper::Timer)
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(filch::hyper::Io::new(stream), service);
    let mut connection = pin!(connection);
    // An error here is a client that broke off: its own affair, and it knows.
    filch::select! {
        _ = keep connection => return,
        () = stop.told() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
