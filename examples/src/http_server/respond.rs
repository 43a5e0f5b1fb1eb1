//! From a request to its response: method, path, conditions, range.

use std::convert::Infallible;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::body::{FileBody, read_piece};
use super::files::{Found, Refused, Site};

/// Files up to this size are read by the same job that opens them.
const SMALL: u64 = 64 * 1024;

pub(super) async fn respond(
    site: Arc<Site>,
    request: Request<Incoming>,
) -> Result<Response<FileBody>, Infallible> {
    let head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        _ => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
    };
    // One job on the blocking pool finds the file, and reads it too if it is small.
    let job = filch::spawn_blocking(move || answer(&site, request.uri().path(), request.headers(), head));
    let mut response = job.await.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR));
    if head {
        *response.body_mut() = FileBody::empty();
    }
    Ok(response)
}

/// What a request for `path` is answered with. Blocks, for the disk.
pub fn answer(site: &Site, path: &str, headers: &HeaderMap, head: bool) -> Response<FileBody> {
    match site.find(path) {
        Ok(Found::File { file, metadata, path }) => of_file(file, &metadata, &path, headers, head),
        Ok(Found::Listing(page)) => {
            let mut response = Response::new(FileBody::Whole(None));
            set(&mut response, header::CONTENT_TYPE, "text/html; charset=utf-8");
            set(&mut response, header::CONTENT_LENGTH, &page.len().to_string());
            *response.body_mut() = FileBody::bytes(page);
            response
        }
        Ok(Found::Moved(to)) => {
            let mut response = plain(StatusCode::MOVED_PERMANENTLY);
            set(&mut response, header::LOCATION, &to);
            response
        }
        Err(Refused::Bad) => plain(StatusCode::BAD_REQUEST),
        Err(Refused::Forbidden) => plain(StatusCode::FORBIDDEN),
        Err(Refused::Missing) => plain(StatusCode::NOT_FOUND),
        Err(Refused::Failed) => plain(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn of_file(
    file: File,
    metadata: &Metadata,
    path: &Path,
    headers: &HeaderMap,
    head: bool,
) -> Response<FileBody> {
    let length = metadata.len();
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    let version = Version { etag: etag(modified, length), modified };
    if version.is_known_to(headers) {
        let mut response = Response::new(FileBody::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        version.put_into(&mut response);
        return response;
    }
    let asked = match headers.get(header::RANGE).and_then(|value| value.to_str().ok()) {
        Some(range) if version.may_continue(headers) => parse_range(range, length),
        _ => Asked::Whole,
    };
    let (status, part) = match asked {
        Asked::Whole => (StatusCode::OK, 0..length),
        Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Asked::Nothing => {
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE);
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{length}"));
            return response;
        }
    };
    let size = part.end - part.start;
    let body = if head || size == 0 {
        FileBody::empty()
    } else if size <= SMALL {
        match read_piece(&file, part.start, size) {
            Ok(bytes) if bytes.len() as u64 == size => FileBody::bytes(bytes),
            _ => return plain(StatusCode::INTERNAL_SERVER_ERROR),
        }
    } else {
        FileBody::part(file, part.start, part.end)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        set(&mut response, header::CONTENT_RANGE, &range);
    }
    set(&mut response, header::CONTENT_LENGTH, &size.to_string());
    set(&mut response, header::CONTENT_TYPE, &content_type(path));
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    version.put_into(&mut response);
    response
}

/// Which state of a file a response speaks of.
struct Version {
    etag: String,
    modified: SystemTime,
}

impl Version {
    /// Whether the client has this version already: `304`.
    fn is_known_to(&self, headers: &HeaderMap) -> bool {
        if let Some(tags) = headers.get(header::IF_NONE_MATCH) {
            // When there are tags, the date does not count.
            return tags.to_str().is_ok_and(|tags| {
                tags.split(',').any(|tag| {
                    let tag = tag.trim();
                    tag == "*" || tag.trim_start_matches("W/") == self.etag
                })
            });
        }
        let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
        since
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .is_some_and(|date| whole(self.modified) <= date)
    }

    /// Whether a range may be taken from this version: it may not when the client's part is of another one.
    fn may_continue(&self, headers: &HeaderMap) -> bool {
        let Some(condition) = headers.get(header::IF_RANGE) else { return true };
        condition.to_str().is_ok_and(|condition| {
            condition == self.etag
                || httpdate::parse_http_date(condition).is_ok_and(|date| date == whole(self.modified))
        })
    }

    fn put_into(&self, response: &mut Response<FileBody>) {
        set(response, header::ETAG, &self.etag);
        set(response, header::LAST_MODIFIED, &httpdate::fmt_http_date(self.modified.max(UNIX_EPOCH)));
    }
}

fn etag(modified: SystemTime, length: u64) -> String {
    let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("\"{nanos:x}-{length:x}\"")
}

/// To the second, as the dates of HTTP are.
fn whole(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

#[derive(PartialEq, Eq, Debug)]
enum Asked {
    Whole,
    Part(Range<u64>),
    /// No byte of the range exists: `416`.
    Nothing,
}

/// What the header `Range` asks of a file. Whatever is not understood (other units, several ranges, nonsense)
/// is answered with the whole file, as RFC 9110 has it.
fn parse_range(value: &str, length: u64) -> Asked {
    let Some((first, last)) = value.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let number = |text: &str| -> Result<Option<u64>, ()> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        // More digits than a length can have mean "to the end".
        Ok(Some(text.parse().unwrap_or(u64::MAX)))
    };
    match (number(first), number(last)) {
        (Ok(Some(first)), Ok(last)) => {
            if last.is_some_and(|last| last < first) {
                return Asked::Whole;
            }
            let end = last.unwrap_or(u64::MAX).saturating_add(1).min(length);
            if first < end { Asked::Part(first..end) } else { Asked::Nothing }
        }
        (Ok(None), Ok(Some(suffix))) => {
            let start = length.saturating_sub(suffix);
            if start < length { Asked::Part(start..length) } else { Asked::Nothing }
        }
        _ => Asked::Whole,
    }
}

fn content_type(path: &Path) -> String {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    if mime.type_() == mime_guess::mime::TEXT || mime.subtype() == mime_guess::mime::JAVASCRIPT {
        format!("{}; charset=utf-8", mime.essence_str())
    } else {
        mime.essence_str().to_owned()
    }
}

/// A response that is nothing but its status, spelt out.
fn plain(status: StatusCode) -> Response<FileBody> {
    let text = format!("{status}\n");
    let mut response = Response::new(FileBody::empty());
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    set(&mut response, header::CONTENT_LENGTH, &text.len().to_string());
    *response.body_mut() = FileBody::bytes(text);
    response
}

fn set(response: &mut Response<FileBody>, name: HeaderName, value: &str) {
    // Every value here is made of visible ASCII; one that is not is left out rather than a reason to panic.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        assert_eq!(parse_range("bytes=0-0", 10), Asked::Part(0..1));
        assert_eq!(parse_range("bytes=2-", 10), Asked::Part(2..10));
        assert_eq!(parse_range("bytes=2-99", 10), Asked::Part(2..10));
        assert_eq!(parse_range("bytes=-3", 10), Asked::Part(7..10));
        assert_eq!(parse_range("bytes=-99", 10), Asked::Part(0..10));
        assert_eq!(parse_range("bytes=5-18446744073709551615", 10), Asked::Part(5..10));
        assert_eq!(parse_range("bytes=5-99999999999999999999999", 10), Asked::Part(5..10));
        for nothing in ["bytes=10-", "bytes=99999999999999999999-", "bytes=-0"] {
            assert_eq!(parse_range(nothing, 10), Asked::Nothing, "{nothing}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Asked::Nothing);
        for whole in
            ["bytes=5-2", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=-", "bytes=+1-2"]
        {
            assert_eq!(parse_range(whole, 10), Asked::Whole, "{whole}");
        }
    }

    #[test]
    fn types_are_right_and_say_how_text_is_encoded() {
        assert_eq!(content_type(Path::new("a.html")), "text/html; charset=utf-8");
        assert_eq!(content_type(Path::new("a.png")), "image/png");
        assert_eq!(content_type(Path::new("a")), "application/octet-stream");
    }
}
