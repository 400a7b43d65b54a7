//! One connection: requests one after the other, each answered from the shelf.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::answer::{Answer, Code, error, send};
use super::body::Body;
use super::message::{Request, read};
use super::reading;
use super::route::Route;
use super::writing::{Counter, Trouble};
use super::{Shelf, Shop};

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// How often a silent one looks whether the server was stopped.
const POLL: Duration = Duration::from_millis(200);
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a body that nobody wants is read, so that the client hears why.
const UNWANTED_MAX: u64 = 1 << 20;
/// How a client begins that wants TLS.
const TLS_HANDSHAKE: u8 = 0x16;
const WITHOUT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 38\r\nConnection: close\r\n\r\nthis registry speaks HTTP without TLS\n";
/// How long a client that goes on sending is listened to after it was refused.
const FAREWELL: Duration = Duration::from_secs(2);

pub(crate) fn serve(
    stream: TcpStream,
    shop: &Shop<'_>,
    is_stopped: &(dyn Fn() -> bool + Sync),
    tell: &(dyn Fn(&str) + Sync),
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    while has_more(&mut input, &out, is_stopped)? {
        out.set_read_timeout(Some(IDLE))?;
        if input.buffer().first() == Some(&TLS_HANDSHAKE) {
            // Docker's programs go on without TLS only where they hear this.
            out.write_all(WITHOUT_TLS)?;
            return take_leave(&mut input, &out, false);
        }
        let Some(request) = read(&mut input)? else {
            return Ok(());
        };
        let mut interim = out.try_clone()?;
        let mut body = Body::new(&request, &mut input, &mut interim);
        let answer = match answer(&request, shop, &mut body) {
            Ok(answer) => answer,
            Err(Trouble::Client(error)) => return Err(error),
            Err(Trouble::Shelf(reason)) => {
                tell(&format!("{} {}: {reason}", request.method, request.path));
                error(Code::Unknown, "the store does not do it")
            }
        };
        let is_read = body.is_whole() || is_passed_over(&mut body);
        let is_last = request.is_last || !is_read;
        send(&request, answer, is_last, &mut out)?;
        if is_last {
            return take_leave(&mut input, &out, is_read);
        }
    }
    Ok(())
}

/// Waits for the first byte of a request.
fn has_more(
    input: &mut BufReader<TcpStream>,
    stream: &TcpStream,
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> io::Result<bool> {
    let end = Instant::now() + IDLE;
    stream.set_read_timeout(Some(POLL))?;
    while !is_stopped() && Instant::now() < end {
        match input.fill_buf() {
            Ok(bytes) => return Ok(!bytes.is_empty()),
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn answer(request: &Request, shop: &Shop<'_>, body: &mut Body<'_>) -> Result<Answer, Trouble> {
    let shelf: &dyn Shelf = shop.shelf;
    let is_read = matches!(request.method.as_str(), "GET" | "HEAD");
    let Some(route) = Route::of(&request.path) else {
        return Ok(match is_read || shop.stock.is_some() {
            true => error(
                Code::NameUnknown,
                "there is nothing here but the API of a registry",
            ),
            false => reading::unsupported(),
        });
    };
    match shop.stock {
        Some(stock) if !is_read || matches!(route, Route::Upload(..)) => Counter {
            shelf,
            stock,
            uploads: &shop.uploads,
        }
        .answer(request, route, body),
        None if !is_read => Ok(reading::unsupported()),
        _ => reading::answer(request, route, shelf).map_err(Trouble::Shelf),
    }
}

/// Reads a small body that nobody wanted, so that the connection can go on.
fn is_passed_over(body: &mut Body<'_>) -> bool {
    let is_small = body.length().is_some_and(|length| length <= UNWANTED_MAX);
    if body.is_awaited() || !is_small {
        return false;
    }
    io::copy(body, &mut io::sink()).is_ok() && body.is_whole()
}

/// Ends a connection. Closing it while the client still sends would take the answer away from it.
fn take_leave(input: &mut BufReader<TcpStream>, out: &TcpStream, is_read: bool) -> io::Result<()> {
    if is_read {
        return Ok(());
    }
    out.shutdown(Shutdown::Write)?;
    out.set_read_timeout(Some(FAREWELL))?;
    let end = Instant::now() + FAREWELL;
    let mut buffer = [0; 16 << 10];
    while Instant::now() < end && input.read(&mut buffer)? > 0 {}
    Ok(())
}
