//! The crawl on tasks: a task a page, as many at a time as a semaphore admits.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use filch::channel::bounded;
use filch::net::TcpStream;
use filch::sync::Semaphore;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header;

use super::Limits;
use super::page::{Address, Failure, Fetched};
use super::report::{Progress, Report};

/// Fetches everything that `start` leads to; `live` hears of each page that is done.
pub async fn crawl(start: Address, limits: Limits, mut live: impl FnMut(Progress)) -> Report {
    let began = Instant::now();
    let admission = Arc::new(Semaphore::new(limits.at_once as usize));
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (results, done) = bounded(limits.at_once as usize);
    let mut report = Report::default();
    let mut seen = HashSet::from([start.clone()]);
    let mut found = vec![start];
    let mut unfinished: usize = 0;
    loop {
        for address in found.drain(..) {
            unfinished += 1;
            let (admission, results) = (admission.clone(), results.clone());
            let (under_way, most) = (under_way.clone(), most.clone());
            filch::spawn(async move {
                let Ok(_permit) = admission.acquire().await else { return };
                most.fetch_max(under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                let began = Instant::now();
                let fetched = filch::time::timeout(limits.timeout(), fetch(&address, limits.bytes))
                    .await
                    .unwrap_or(Err(Failure::Timeout));
                under_way.fetch_sub(1, Ordering::Relaxed);
                // The crawl waits for every page, so somebody is there to take this.
                let _ = results.send((fetched, began.elapsed())).await;
            });
        }
        report.saw_at_once(most.load(Ordering::Relaxed));
        if unfinished == 0 {
            return report.finish(began.elapsed());
        }
        // Never an error: `results` is still here.
        let Ok((fetched, latency)) = done.recv().await else { return report.finish(began.elapsed()) };
        unfinished -= 1;
        report.add(&fetched, latency);
        let busy = under_way.load(Ordering::Relaxed);
        live(report.progress(busy, unfinished.saturating_sub(busy)));
        for link in fetched.map(|fetched| fetched.links).unwrap_or_default() {
            if seen.len() < limits.pages && seen.insert(link.clone()) {
                found.push(link);
            }
        }
    }
}

/// Fetches one page over a connection of its own.
pub(crate) async fn fetch(address: &Address, bytes: usize) -> Result<Fetched, Failure> {
    let stream = TcpStream::connect(address.host_and_port()).await.map_err(|_| Failure::Connect)?;
    let (mut sender, connection) =
        http1::handshake(filch::hyper::Io::new(stream)).await.map_err(|_| Failure::Broken)?;
    let request = Request::get(address.path())
        .header(header::HOST, address.host_and_port())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Failure::Broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|_| Failure::Broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, bytes).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { Failure::TooLong } else { Failure::Broken }
        })?;
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let is_html = text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html"));
        let location = text(header::LOCATION);
        Ok(Fetched::new(address, head.status.as_u16(), location, is_html, &body.to_bytes()))
    };
    // The connection is polled here, beside the exchange: when the page is dropped, so is its socket.
    let mut exchange = std::pin::pin!(exchange);
    filch::select! {
        biased;
        fetched = keep exchange => fetched,
        _ = connection => exchange.await,
    }
}
