//! The site that the crawler serves itself: generated pages, some slow, broken, redirecting or endless.
//!
//! What a page does follows from its number, so that every crawl of a site finds the same.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use filch::net::{TcpListener, TcpStream};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};

use super::page::Address;
use crate::stop::{Ended, Stop, stop};

/// Each page is one of these, by its number modulo 20; the others answer at once.
const KINDS: u32 = 20;
const SLOW: u32 = 3;
const ENDLESS: u32 = 7;
const BROKEN: u32 = 11;
const REDIRECT: u32 = 13;
const FAILING: u32 = 17;

/// The pause between two pieces of a page that never ends.
const DRIP: Duration = Duration::from_millis(20);

/// A site that is being served; dropping it ends that.
#[derive(Debug)]
pub struct SiteServer {
    addr: SocketAddr,
    size: u32,
    ended: Ended,
}

impl SiteServer {
    /// Its first page.
    pub fn start(&self) -> Address {
        Address::new(self.addr.ip().to_string(), self.addr.port(), "/")
    }

    /// How many pages of it end too late, break off, redirect and fail, in this order.
    pub fn troubles(&self) -> (usize, usize, usize, usize) {
        let count = |kind| (0..self.size).filter(|number| number % KINDS == kind).count();
        (count(ENDLESS), count(BROKEN), count(REDIRECT), count(FAILING))
    }

    /// How many addresses a crawl finds: the pages, `/`, and one that is missing.
    pub fn addresses(&self) -> usize {
        self.size as usize + 2
    }
}

impl Drop for SiteServer {
    fn drop(&mut self) {
        self.ended.tell();
    }
}

/// Serves a site of `size` pages on a free port of loopback.
///
/// # Errors
/// When no port can be had.
pub async fn serve_site(size: u32) -> io::Result<SiteServer> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let (stop, ended) = stop();
    filch::spawn(async move {
        while let Some(accepted) = filch::select! {
            () = stop.told() => None,
            accepted = listener.accept() => Some(accepted),
        } {
            if let Ok((stream, _)) = accepted {
                filch::spawn(connection(stream, size, stop.clone()));
            }
        }
    });
    Ok(SiteServer { addr, size, ended })
}

async fn connection(stream: TcpStream, size: u32, stop: Stop) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, size));
    let connection = http1::Builder::new().serve_connection(filch::hyper::Io::new(stream), service);
    filch::select! {
        // A page that breaks off is an error here, and meant to be one.
        _ = connection => {}
        () = stop.told() => {}
    }
}

async fn answer(request: Request<Incoming>, size: u32) -> Result<Response<SiteBody>, Infallible> {
    let path = request.uri().path();
    let number = path.strip_prefix("/page/").and_then(|number| number.parse::<u32>().ok());
    Ok(match (path, number) {
        ("/", _) => html(page("Start", [1 % size, 2 % size].map(|n| format!("/page/{n}")).into_iter(), "")),
        (_, Some(number)) if number < size => numbered(number, size).await,
        _ => status(StatusCode::NOT_FOUND),
    })
}

async fn numbered(number: u32, size: u32) -> Response<SiteBody> {
    match number % KINDS {
        SLOW => filch::time::sleep(Duration::from_millis(60 + u64::from(number % 90))).await,
        ENDLESS => return streamed(End::Never),
        BROKEN => return streamed(End::Breaks),
        REDIRECT => {
            // To the next page, which is not one of these.
            let mut response = status(StatusCode::FOUND);
            let to = format!("/page/{}", (number + 1) % size);
            response.headers_mut().insert(header::LOCATION, HeaderValue::try_from(to).expect("digits"));
            return response;
        }
        FAILING => return status(StatusCode::INTERNAL_SERVER_ERROR),
        _ => {}
    }
    // A tree, and a ring, so that every page is reached though some lead nowhere: the pages before it that
    // answer lead to it too.
    let tree = [2 * number + 1, 2 * number + 2].into_iter().filter(|n| *n < size);
    let near = (1..=6).map(|step| (number + step) % size);
    let links = tree.chain(near).map(|n| format!("/page/{n}"));
    let missing = if number == 0 {
        "<a href=\"/missing\">gone</a> <a href=\"http://elsewhere.invalid/\">out</a>"
    } else {
        ""
    };
    html(page(&format!("Page {number}"), links, missing))
}

fn page(title: &str, links: impl Iterator<Item = String>, more: &str) -> String {
    let mut text = format!("<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n");
    for link in links {
        let _ = writeln!(text, "<a href=\"{link}\">{link}</a>");
    }
    text.push_str(more);
    text.push_str(&"<p>Lorem ipsum dolor sit amet, consectetur adipiscing elit.</p>\n".repeat(60));
    text
}

fn html(text: String) -> Response<SiteBody> {
    with_type(SiteBody::Whole(Some(text.into())))
}

fn streamed(end: End) -> Response<SiteBody> {
    with_type(SiteBody::Streamed { end, pieces: 0, pause: None })
}

fn with_type(body: SiteBody) -> Response<SiteBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn status(status: StatusCode) -> Response<SiteBody> {
    let mut response = Response::new(SiteBody::Whole(Some(status.to_string().into())));
    *response.status_mut() = status;
    response
}

/// How a streamed page ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Never,
    /// With an error in the middle, at which hyper cuts the connection, far from the length it had announced.
    Breaks,
}

enum SiteBody {
    Whole(Option<Bytes>),
    Streamed { end: End, pieces: u32, pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>> },
}

impl Body for SiteBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            SiteBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            SiteBody::Streamed { end, pieces, pause } => {
                if let Some(pause) = pause {
                    ready!(pause.as_mut().poll(cx));
                }
                *pieces += 1;
                *pause = Some(Box::pin(filch::time::sleep(DRIP)));
                Poll::Ready(Some(match (*end, *pieces) {
                    (End::Breaks, 3) => Err(io::Error::other("breaks off here, as it should")),
                    _ => Ok(Frame::data(Bytes::from_static(b"<p>and so on</p>\n"))),
                }))
            }
        }
    }
    fn size_hint(&self) -> SizeHint {
        match self {
            SiteBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            SiteBody::Streamed { end: End::Breaks, .. } => SizeHint::with_exact(100_000),
            SiteBody::Streamed { end: End::Never, .. } => SizeHint::default(),
        }
    }
}
