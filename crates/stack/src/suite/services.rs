//! What runs beside a suite: started in order, waited for, stopped afterwards; logs are kept.
//!
//! Services share the network with the suite, which is the host's: so only one suite with
//! services runs at a time, in all runs of a store together, and a port that somebody else listens on
//! is an error, not a sign that a service is ready.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use cairn_build::event::Event;
use cairn_build::image::ImageRecord;
use cairn_sandbox::{Cancel, Exit, Network, Sandbox, SandboxError};
use cairn_spec::suite::{Service, Suite};
use cairn_store::KeyHasher;

use super::container::{Container, Wanted};
use super::image::{Log, ended};
use super::{Stop, SuiteError, SuiteMeans, SuiteResult};
use crate::structure::CheckError;

/// How often a service is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a service has to stop by itself.
const GRACE: Duration = Duration::from_secs(5);
/// How long one command may take that asks whether a service is ready.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of a service.
#[derive(Default)]
struct State {
    has_said: bool,
    end: Option<String>,
    tail: Vec<u8>,
}

/// Runs the suite with its services beside it.
pub(super) fn beside(
    suite: &Suite,
    image: &str,
    record: &ImageRecord,
    means: &SuiteMeans<'_>,
    run: &mut dyn FnMut() -> Result<SuiteResult, Stop>,
) -> Result<SuiteResult, Stop> {
    if suite.services.is_empty() {
        return run();
    }
    if means.conditions.network == Network::None {
        return Err(Stop::Failed(
            "its services cannot be reached: the spec says `build.network = \"none\"`".to_owned(),
        ));
    }
    let key = KeyHasher::new("cairn services").finish_key();
    let mut keep_waiting = || !means.cancel.is_cancelled();
    let Some(_turn) = means.store.lock_work(&key, &mut keep_waiting)? else {
        return Err(SuiteError::from(CheckError::Cancelled).into());
    };
    let stop = Cancel::new();
    let states: Vec<Mutex<State>> = suite.services.iter().map(|_| Mutex::default()).collect();
    thread::scope(|scope| {
        let mut running = Vec::new();
        let mut start_all = || {
            for (service, state) in suite.services.iter().zip(&states) {
                let started = start(service, suite, image, record, means)?;
                let (mut log, container, spoken) = started;
                let cancel = &stop;
                let handle: ScopedJoinHandle<'_, ()> = scope.spawn(move || {
                    let ran = container.sandbox.run(cancel, &mut |_, bytes| {
                        log.push(bytes);
                        note(state, &log, spoken.as_deref());
                    });
                    let end = match ran {
                        Ok(Exit::Code(0)) => "it ended with code 0".to_owned(),
                        Ok(exit) => ended(exit, Duration::ZERO).unwrap_or_default(),
                        Err(SandboxError::Exec(failure)) => failure.to_string(),
                        Err(error) => error.to_string(),
                    };
                    locked(state).end = Some(end);
                });
                running.push(handle);
                wait(service, record, state, means)?;
            }
            Ok(())
        };
        let mut result = start_all().and_then(|()| run());
        if let Ok(result) = &mut result
            && !result.passed()
        {
            tell_dead(suite, &states, result, means);
        }
        stop.cancel();
        for handle in running {
            let _ = handle.join();
        }
        result
    })
}

type Started = (Log, Container, Option<String>);

fn start(
    service: &Service,
    suite: &Suite,
    image: &str,
    record: &ImageRecord,
    means: &SuiteMeans<'_>,
) -> Result<Started, Stop> {
    let name = &service.name;
    if let Some(port) = service.port
        && is_listened_on(port)
    {
        return Err(Stop::Failed(format!(
            "the service `{name}` cannot have port {port}: something on this machine listens there"
        )));
    }
    let record = of(service, record, means)?;
    let mut container = container(service, &record, means)?;
    container.sandbox.argv = match service.command.is_empty() {
        false => service.command.clone(),
        true => {
            let config = &record.config;
            let parts = [&config.entrypoint, &config.cmd];
            parts.into_iter().flatten().flatten().cloned().collect()
        }
    };
    if container.sandbox.argv.is_empty() {
        return Err(Stop::Failed(format!(
            "the service `{name}` has no `command`, and its image runs nothing by itself"
        )));
    }
    container.sandbox.grace = GRACE;
    let log_name = format!("service {image} {} {} {name}", suite.kind, suite.name);
    Ok((Log::new(means, &log_name)?, container, service.log.clone()))
}

fn of(
    service: &Service,
    record: &ImageRecord,
    means: &SuiteMeans<'_>,
) -> Result<ImageRecord, Stop> {
    let Some(image) = &service.image else {
        return Ok(record.clone());
    };
    (means.record_of)(image).ok_or_else(|| {
        Stop::Failed(format!(
            "the service `{}` needs the image `{}`, which is not there: `cairn build {}`",
            service.name, image.value, image.value
        ))
    })
}

fn container(
    service: &Service,
    record: &ImageRecord,
    means: &SuiteMeans<'_>,
) -> Result<Container, Stop> {
    let wanted = Wanted {
        user: None,
        env: &service.env,
        read_only: false,
    };
    Container::new(record, &wanted, means.store, means.conditions)
}

/// Waits until a service shows all the signs that it is ready.
fn wait(
    service: &Service,
    record: &ImageRecord,
    state: &Mutex<State>,
    means: &SuiteMeans<'_>,
) -> Result<(), Stop> {
    let deadline = Instant::now() + service.timeout;
    let name = &service.name;
    loop {
        if means.cancel.is_cancelled() {
            return Err(SuiteError::from(CheckError::Cancelled).into());
        }
        let (has_said, end) = {
            let state = locked(state);
            (state.has_said, state.end.clone())
        };
        if let Some(end) = end {
            let text = format!("the service `{name}` was over before it was ready: {end}");
            return Err(Stop::Failed(with_tail(text, state)));
        }
        let missing = match service {
            Service {
                port: Some(port), ..
            } if !is_listened_on(*port) => Some(format!("nothing listens on port {port}")),
            Service {
                log: Some(text), ..
            } if !has_said => Some(format!("it has not said `{text}`")),
            Service { ready, .. } if ready.is_empty() => None,
            _ => ask(service, record, means)?,
        };
        let Some(missing) = missing else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            let text = format!(
                "the service `{name}` is not ready after {} s (`timeout`): {missing}",
                service.timeout.as_secs()
            );
            return Err(Stop::Failed(with_tail(text, state)));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Runs the command that ends with 0 when the service is ready; gives what is missing.
fn ask(
    service: &Service,
    record: &ImageRecord,
    means: &SuiteMeans<'_>,
) -> Result<Option<String>, Stop> {
    let record = of(service, record, means)?;
    let mut sandbox: Sandbox = {
        let container = container(service, &record, means)?;
        container.sandbox.clone()
    };
    sandbox.writable = cairn_sandbox::Writable::Tmpfs;
    sandbox.argv.clone_from(&service.ready);
    sandbox.timeout = Some(ASK_TIMEOUT);
    let command = service.ready.join(" ");
    match sandbox.run(means.cancel, &mut |_, _| {}) {
        Ok(exit) if exit.is_success() => Ok(None),
        Ok(exit) => Ok(ended(exit, ASK_TIMEOUT).map(|end| format!("`{command}`: {end}"))),
        Err(error) => Ok(Some(format!("`{command}`: {error}"))),
    }
}

/// A failure may be that of a service that was over too early.
fn tell_dead(
    suite: &Suite,
    states: &[Mutex<State>],
    result: &mut SuiteResult,
    means: &SuiteMeans<'_>,
) {
    for (service, state) in suite.services.iter().zip(states) {
        let end = locked(state).end.clone();
        if let Some(end) = end {
            let text = format!("the service `{}` was over too early: {end}", service.name);
            let text = with_tail(text, state);
            means.events.emit(Event::Notice {
                warning: true,
                text: text.clone(),
            });
            result.note = Some(text);
        }
    }
}

fn with_tail(text: String, state: &Mutex<State>) -> String {
    let tail = super::tail(&locked(state).tail);
    match tail.as_str() {
        "" => text,
        tail => format!("{text}\n{tail}"),
    }
}

fn note(state: &Mutex<State>, log: &Log, spoken: Option<&str>) {
    let mut state = locked(state);
    state.tail.clone_from(&log.tail);
    if let Some(text) = spoken {
        state.has_said |= String::from_utf8_lossy(&log.tail).contains(text);
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether anything on this machine listens on a TCP port. Looking asks nobody.
fn is_listened_on(port: u16) -> bool {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let texts = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    texts.into_iter().any(|text| has_listener(&text, port))
}

/// The state of a socket that listens.
const LISTEN: &str = "0A";

fn has_listener(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().and_then(|address| address.rsplit_once(':'));
        let local = local.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        local == Some(port) && fields.nth(1) == Some(LISTEN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 0100007F:19A3 00000000:0000 0A 00000000:00000000\n\
                     1: 0100007F:1F90 0100007F:D431 01 00000000:00000000\n";
        assert!(has_listener(table, 6563));
        assert!(!has_listener(table, 8080), "connected, not listening");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_listened_on(port));
        drop(listener);
        assert!(!is_listened_on(port));
    }
}
