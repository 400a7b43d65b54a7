//! `EXPOSE`: ports, ranges of ports, and their protocols.

use std::fmt::{self, Display, Formatter};
use std::ops::RangeInclusive;

/// A port as an image's config names it: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
    /// `sctp`
    Sctp,
}

/// A word of `EXPOSE` that is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Nothing before the protocol.
    #[error("no port specified: {0}")]
    NoPort(String),
    /// Not a number, or a range the wrong way round.
    #[error("invalid containerPort: {0}")]
    Number(String),
    /// A port of the host that is no number.
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    /// An address that is none.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// A protocol that does not exist.
    #[error("invalid proto: {0}")]
    Protocol(String),
    /// Two ranges that do not fit each other.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// The container's.
        container: String,
        /// The host's.
        host: String,
    },
}

/// What one expanded word of `EXPOSE` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The ports, in ascending order.
    pub ports: Vec<Port>,
    /// Whether it names an address or a port of the host, which mean nothing here.
    pub has_mapping: bool,
}

impl Exposed {
    /// Reads `[[address:][hostPort]:]port[-port][/protocol]`.
    pub fn parse(word: &str) -> Result<Self, PortError> {
        let (rest, protocol) = match word.split_once('/') {
            Some((rest, protocol)) => (rest, protocol),
            None => (word, "tcp"),
        };
        let (mapping, container) = match rest.rsplit_once(':') {
            Some((mapping, container)) => (Some(mapping), container),
            None => (None, rest),
        };
        if container.is_empty() {
            return Err(PortError::NoPort(word.to_owned()));
        }
        let range = range(container).ok_or_else(|| PortError::Number(container.to_owned()))?;
        if let Some(mapping) = mapping {
            check_mapping(mapping, container, &range)?;
        }
        let protocol = Protocol::parse(protocol)?;
        Ok(Self {
            ports: range.map(|number| Port { number, protocol }).collect(),
            has_mapping: mapping.is_some(),
        })
    }
}

impl Protocol {
    fn parse(text: &str) -> Result<Self, PortError> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" | "" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(PortError::Protocol(text.to_owned())),
        }
    }
}

impl Display for Port {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

fn number(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Checks what stands before the port; it is thrown away afterwards.
fn check_mapping(
    mapping: &str,
    container: &str,
    ports: &RangeInclusive<u16>,
) -> Result<(), PortError> {
    let (address, host) = match mapping.rsplit_once(':') {
        Some((address, host)) => (address, host),
        None => ("", mapping),
    };
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if !bare.is_empty() && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(PortError::Address(address.to_owned()));
    }
    if host.is_empty() {
        return Ok(());
    }
    let host_ports = range(host).ok_or_else(|| PortError::HostPort(host.to_owned()))?;
    // A single container port may be given to any of a range of the host's.
    if ports.len() != 1 && ports.len() != host_ports.len() {
        return Err(PortError::Ranges {
            container: container.to_owned(),
            host: host.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expected: &str, has_mapping: bool) {
        let exposed = Exposed::parse(word).unwrap();
        let ports: Vec<String> = exposed.ports.iter().map(Port::to_string).collect();
        assert_eq!(ports.join(" "), expected, "{word}");
        assert_eq!(exposed.has_mapping, has_mapping, "{word}");
    }

    #[test]
    fn ports_ranges_and_protocols() {
        check("80", "80/tcp", false);
        check("53/UDP", "53/udp", false);
        check("8000-8002/sctp", "8000/sctp 8001/sctp 8002/sctp", false);
    }

    #[test]
    fn mappings_are_thrown_away() {
        check("127.0.0.1:80:8080", "8080/tcp", true);
        check("[::1]:8080:80", "80/tcp", true);
        check("5000:5000", "5000/tcp", true);
        check("1-2:3-4", "3/tcp 4/tcp", true);
    }

    #[test]
    fn refuses() {
        let error = |word| Exposed::parse(word).unwrap_err().to_string();
        assert_eq!(error("80/foo"), "invalid proto: foo");
        assert_eq!(error("/tcp"), "no port specified: /tcp");
        assert_eq!(error("http"), "invalid containerPort: http");
        assert_eq!(error("9-8"), "invalid containerPort: 9-8");
        assert_eq!(error("65536"), "invalid containerPort: 65536");
        assert_eq!(error("x:80"), "invalid hostPort: x");
        assert_eq!(error("nohost:1:80"), "invalid IP address: nohost");
        assert_eq!(
            error("1-2:3-5"),
            "invalid ranges specified for container and host Ports: 3-5 and 1-2"
        );
    }
}
